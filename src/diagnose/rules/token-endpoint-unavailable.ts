import { ATTR_ERROR_TYPE, ATTR_PERMANENT, ATTR_RETRY_AFTER } from '../../../otel/semconv.ts'
import { wordsOf } from '../counters.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded } from '../hypotheses.ts'
import { greatest } from '../range.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** No connection, so nothing can have been taken. */
const UNREACHABLE = /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/

/** The token endpoint is down or throttles; the login is not harmed. */
export const tokenEndpointUnavailable: Rule = {
  kind: 'token_endpoint_unavailable',
  severity: 'warning',
  title: 'The token endpoint is down or throttles',
  symptom: 'Refreshes fail for a while; some clients take that for the end of the login and ask to sign in again.',
  detectedBy: 'status 5xx or 429 of the token endpoint, or no connection at all; never a verdict on the token',
  remedy: [
    'Do not sign in again: the login is not dead, and a login adds to the load.',
    "Look at the provider's status page; calls go on for as long as the access token is good.",
    'Where it throttles (429), look for the callers who ask too often; where nothing connects, look at network, proxy and name server.',
  ],
  explains: ['refresh_failing'],
  detect: evidence => {
    const down = evidence.refreshes.filter(isDown)
    return [...Map.groupBy(down, ({ profile, provider }) => profile ?? provider ?? '').values()].map(about => report(evidence, about))
  },
}

function isDown(refresh: InputSpan): boolean {
  const { isError, status } = refresh
  if (!isError || refresh.flag(ATTR_PERMANENT) === true) return false
  return status === undefined ? UNREACHABLE.test(refresh.text(ATTR_ERROR_TYPE) ?? '') : status >= 500 || status === 429
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const answers = wordsOf(about, refresh => String(refresh.status ?? refresh.text(ATTR_ERROR_TYPE)))
  const waits = about.flatMap(refresh => refresh.number(ATTR_RETRY_AFTER) ?? [])
  const lastMs = greatest(about.map(({ endMs }) => endMs))
  const again = evidence.refreshes.find(({ profile, isError, startMs }) => profile === first?.profile && !isError && startMs >= lastMs)
  const served = evidence.attempts.filter(
    ({ profile, isServed, startMs }) =>
      profile === first?.profile && isServed && startMs >= (first?.startMs ?? 0) && startMs <= (again?.startMs ?? Number.POSITIVE_INFINITY),
  )
  return findingDraft(tokenEndpointUnavailable, evidence, {
    about,
    what: `${times(about.length, 'refresh')} failed with ${answers.map(({ word, count }) => `${word} (${count})`).join(', ')}${waits.length > 0 ? `, asked to wait up to ${greatest(waits)} s` : ''}; ${again ? `it works again since ${new Date(again.startMs).toISOString()}` : 'no refresh of this profile has worked since'}. ${served.length > 0 ? `${times(served.length, 'call')} went through meanwhile with the token that is still good.` : 'No call of this profile went through meanwhile.'}`,
    confidence: 'certain',
    hypotheses: [
      excluded('token_rejected', 'the endpoint gave no verdict on the token'),
      excluded('request_shape', 'the endpoint gave no verdict on the request'),
    ],
  })
}
