import { ATTR_TOKEN_AGE } from '../../../otel/semconv.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { judgeShape, supported } from '../hypotheses.ts'
import { comparedShapes } from '../request-shapes.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const DAY_SECONDS = 86_400

/** The refresh token has come to its own end; nobody did anything wrong. */
export const grantExpired: Rule = {
  kind: 'grant_expired',
  severity: 'grant_dead',
  title: 'The login has expired',
  symptom: 'A profile that no caller used for a while cannot be refreshed any more.',
  detectedBy: 'the code of the provider (refresh_token_expired) and the age of the token',
  remedy: [
    'Sign in again.',
    'Let a timer acquire a token at the gate with the reason scheduled, so that a login that is not used does not run out.',
  ],
  explains: ['refresh_refused', 'refresh_failing'],
  detect: evidence => {
    const expired = evidence.refreshes.filter(({ outcome, isError }) => isError && outcome === 'grant_expired')
    return [...Map.groupBy(expired, ({ profile, provider }) => profile ?? provider ?? '').values()].map(group => report(evidence, group))
  },
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const age = first?.number(ATTR_TOKEN_AGE)
  return findingDraft(grantExpired, evidence, {
    about,
    what: `${times(about.length, 'refresh')} refused as too old (${first?.providerCode ?? first?.outcome})${age === undefined ? '' : `; the access token was issued ${age < 2 * DAY_SECONDS ? `${Math.round(age / 3600)} h` : `${Math.round(age / DAY_SECONDS)} days`} ago`}.`,
    confidence: 'certain',
    hypotheses: [
      supported('token_rejected', 'the endpoint says itself that the refresh token has expired'),
      ...judgeShape(comparedShapes(evidence, first)),
    ],
  })
}
