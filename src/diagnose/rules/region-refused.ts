import { REGION_CODE } from '../../domain/refusal-codes.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** The provider does not serve the place where the request comes from. */
export const regionRefused: Rule = {
  kind: 'region_refused',
  severity: 'warning',
  title: 'The provider refuses the region that requests come from',
  symptom: 'Everything works until the access token expires; then every refresh ends in 403.',
  detectedBy: "the provider's code unsupported_country_region_territory, and whether calls go through while refreshes do not",
  remedy: [
    'Do not sign in again: a login from here is refused in the same way.',
    'Send token requests out the same way as calls: HTTPS_PROXY (and NODE_USE_ENV_PROXY=1 for fetch) must hold for the process and the client library that refreshes. The gateway itself goes by HTTPS_PROXY for both.',
    'Compare the address that both come from; let refreshes be made where the calls are allowed.',
  ],
  explains: ['refresh_refused', 'refresh_failing'],
  detect: evidence => {
    const all = [...evidence.refreshes, ...evidence.attempts, ...evidence.operations]
    const refused = all.filter(({ providerCode }) => providerCode === REGION_CODE).sort((a, b) => a.startMs - b.startMs)
    return [...Map.groupBy(refused, ({ provider }) => provider ?? '').values()].map(about => report(evidence, about))
  },
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const isCall = new Set(evidence.attempts)
  const calls = about.filter(span => isCall.has(span)).length
  const others = about.length - calls
  const through = evidence.attempts.filter(
    ({ provider, isServed, startMs }) => provider === first?.provider && isServed && startMs >= (first?.startMs ?? 0),
  ).length
  const parts = [others > 0 ? times(others, 'token request') : '', calls > 0 ? times(calls, 'call') : ''].filter(Boolean).join(' and ')
  const isSplit = calls === 0 && through > 0
  return findingDraft(regionRefused, evidence, {
    about,
    ...(isSplit && { title: 'The token endpoint refuses the region, while calls go through: they leave by different ways' }),
    what: `${parts} refused with ${first?.status} ${REGION_CODE}; ${isSplit ? `${times(through, 'call')} to the API of the same provider went through since: calls and refreshes leave this machine by different ways` : 'no call went through since'}.`,
    confidence: 'certain',
    hypotheses: [
      excluded('token_rejected', 'the endpoint refuses where the request comes from, not the token'),
      excluded('another_caller', 'the region is refused no matter which caller refreshes'),
    ],
  })
}
