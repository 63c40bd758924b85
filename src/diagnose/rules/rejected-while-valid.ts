import { ATTR_ATTEMPT_OUTCOME, ATTR_CREDENTIAL_EXPIRES_IN, ATTR_CREDENTIAL_FINGERPRINT } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const OUTCOMES: ReadonlySet<string | undefined> = new Set(['auth', 'auth_permanent'])

/** The provider refuses an access token that says of itself that it is good. */
export const rejectedWhileValid: Rule = {
  kind: 'rejected_while_valid',
  severity: 'warning',
  title: 'The provider rejects access tokens that are not expired',
  symptom: 'Calls end in 401 although the expiry lies hours or days ahead; a forced refresh may or may not help.',
  detectedBy: '401 from the API, not from the token endpoint, with seconds left to the expiry; and how the refresh after it ended',
  remedy: [
    'Where the refresh that followed worked, nothing needs to be done: the provider ended the access token early.',
    'Look for a user who signed in, signed out or changed the password of the account at that time: that ends access tokens.',
    'Where the refresh was refused as well, the login is dead: sign in again.',
  ],
  detect: evidence => {
    const rejected = evidence.attempts.filter(isRejectedWhileValid)
    return [...Map.groupBy(rejected, ({ profile, provider }) => profile ?? provider ?? '').values()].map(group => report(evidence, group))
  },
}

function isRejectedWhileValid(attempt: InputSpan): boolean {
  if (attempt.status !== 401 || !OUTCOMES.has(attempt.text(ATTR_ATTEMPT_OUTCOME))) return false
  return (attempt.number(ATTR_CREDENTIAL_EXPIRES_IN) ?? 0) > 0
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const tokens = new Set(about.map(attempt => attempt.text(ATTR_CREDENTIAL_FINGERPRINT))).size
  const after = evidence.refreshes.filter(
    ({ reason, profile, startMs }) => reason === 'rejected' && profile === first?.profile && startMs >= (first?.startMs ?? 0),
  )
  const helped = after.filter(({ outcome }) => outcome === 'rotated' || outcome === 'renewed').length
  return findingDraft(rejectedWhileValid, evidence, {
    about,
    what: `${times(about.length, 'call')} with ${times(tokens, 'access token')} ended in 401 ${first?.providerCode ?? ''} with ${durationOf((first?.number(ATTR_CREDENTIAL_EXPIRES_IN) ?? 0) * 1_000)} to the expiry; ${after.length === 0 ? 'no refresh followed' : `${helped} of ${times(after.length, 'refresh')} after that brought a new token`}.`,
    confidence: 'certain',
  })
}
