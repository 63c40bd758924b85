import { ATTR_ANSWER_TYPE, ATTR_PROVIDER_REQUEST_ID } from '../../../otel/semconv.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** A page for browsers where an answer belongs: it was not the provider who answered. */
export const firewallPage: Rule = {
  kind: 'firewall_page',
  severity: 'warning',
  title: 'A firewall in front of the provider answers with a page for browsers',
  symptom: 'Refreshes or calls end in 403, or in a timeout or parse error where the client cannot read the page.',
  detectedBy: 'status 403 or 429 with content type text/html; the request id is that of the firewall (cf-ray)',
  remedy: [
    'Do not sign in again: the provider has not seen the request, and the login is as good as before.',
    'Look at where this machine goes out: address of a data centre, VPN or proxy. Try from another network.',
    'Give the request id to the provider, and ask to let the address through.',
  ],
  explains: ['refresh_failing', 'token_endpoint_unavailable'],
  detect: evidence => {
    const pages = [...evidence.refreshes, ...evidence.attempts].filter(isPage).sort((a, b) => a.startMs - b.startMs)
    return [...Map.groupBy(pages, ({ provider }) => provider ?? '').values()].map(about => report(evidence, about))
  },
}

function isPage(span: InputSpan): boolean {
  return span.isError && (span.status === 403 || span.status === 429) && (span.text(ATTR_ANSWER_TYPE) ?? '').startsWith('text/html')
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const isCall = new Set(evidence.attempts)
  const calls = about.filter(span => isCall.has(span)).length
  const refreshes = about.length - calls
  const parts = [refreshes > 0 ? times(refreshes, 'token request') : '', calls > 0 ? times(calls, 'call') : '']
  const id = about.flatMap(span => span.text(ATTR_PROVIDER_REQUEST_ID) ?? []).at(-1)
  const [first, last] = [about[0], about.at(-1)]
  const through = evidence.attempts.filter(
    ({ provider, isServed, startMs }) =>
      provider === first?.provider && isServed && startMs >= (first?.startMs ?? 0) && startMs <= (last?.endMs ?? 0),
  )
  return findingDraft(firewallPage, evidence, {
    about,
    what: `${parts.filter(Boolean).join(' and ')} got ${last?.status} with an HTML page${id === undefined ? '' : ` (request id ${id})`}: something in front of ${first?.provider} answered. ${through.length > 0 ? `${times(through.length, 'call')} of the provider went through in the same time: only a part of its addresses is closed.` : 'Nothing went through in the same time.'}`,
    confidence: 'certain',
    hypotheses: [
      excluded('token_rejected', 'the answer is a page for browsers: the token endpoint has not judged the token'),
      excluded('request_shape', 'the answer is a page for browsers: the token endpoint has not read the request'),
    ],
  })
}
