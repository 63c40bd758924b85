import { ATTR_ATTEMPT_OUTCOME, ATTR_CREDENTIAL_FINGERPRINT, ATTR_URL_PATH } from '../../../otel/semconv.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** One endpoint of a provider refuses a token that another one takes. */
export const endpointRejectsToken: Rule = {
  kind: 'endpoint_rejects_token',
  severity: 'warning',
  title: 'One endpoint refuses an access token that another one takes',
  symptom:
    'Listing models ends in 401 while the model answers with the same token; a client that believes the 401 refreshes, or rests the profile.',
  detectedBy: '401 on one path and success on another one afterwards, with an access token of the same fingerprint',
  remedy: [
    'Do not refresh and do not sign in again: the token is good, its other calls prove it.',
    'Let the caller named here not take a 401 of this path for a dead token: neither refresh nor rest the profile on it.',
    'Look at what this path wants in addition to the token: an account header, a scope, a plan, a newer client version.',
  ],
  explains: ['rejected_while_valid', 'same_token_retried'],
  detect: evidence => {
    const groups = Map.groupBy(evidence.attempts, ({ provider }) => provider)
    return [...groups.values()].flatMap(attempts => guiltyPaths(attempts).map(path => report(evidence, attempts, path)))
  },
}

/** Paths that refused a token which another path took after that, and that served nobody. */
function guiltyPaths(attempts: readonly InputSpan[]): string[] {
  const rejected = attempts.filter(isRejected)
  const suspects = new Set(rejected.map(tokenOf))
  const served = Map.groupBy(
    attempts.filter(attempt => suspects.has(tokenOf(attempt)) && isServed(attempt)),
    tokenOf,
  )
  const proven = rejected.filter(refused =>
    served.get(tokenOf(refused))?.findLast(other => pathOf(other) !== pathOf(refused) && other.startMs > refused.startMs),
  )
  const good = new Set([...served.values()].flat().map(pathOf))
  return [...new Set(proven.map(pathOf))].filter((path): path is string => path !== undefined && !good.has(path))
}

function report(evidence: Evidence, attempts: readonly InputSpan[], path: string): FindingDraft {
  const about = attempts.filter(attempt => isRejected(attempt) && pathOf(attempt) === path)
  const tokens = new Set(about.map(tokenOf))
  const served = attempts.filter(attempt => isServed(attempt) && pathOf(attempt) !== path && tokens.has(tokenOf(attempt)))
  const paths = [...new Set(served.map(pathOf))].join(', ')
  const last = about.at(-1)
  const refreshed = evidence.refreshes.filter(
    ({ reason, provider, startMs }) => reason === 'rejected' && provider === last?.provider && startMs >= (about[0]?.startMs ?? 0),
  ).length
  return findingDraft(endpointRejectsToken, evidence, {
    about,
    what: `${path} answered 401${last?.providerCode === undefined ? '' : ` ${last.providerCode}`} to ${times(about.length, 'request')} while ${paths} served ${times(served.length, 'call')} with the same access token${refreshed > 0 ? `; ${times(refreshed, 'refresh')} followed that could not help` : ''}.`,
    confidence: 'certain',
  })
}

function isRejected(attempt: InputSpan): boolean {
  const outcome = attempt.text(ATTR_ATTEMPT_OUTCOME)
  return attempt.status === 401 && (outcome === 'auth' || outcome === 'auth_permanent') && tokenOf(attempt) !== undefined
}

function isServed(attempt: InputSpan): boolean {
  return attempt.text(ATTR_ATTEMPT_OUTCOME) === 'ok' && pathOf(attempt) !== undefined
}

function tokenOf(attempt: InputSpan): string | undefined {
  return attempt.text(ATTR_CREDENTIAL_FINGERPRINT)
}

function pathOf(attempt: InputSpan): string | undefined {
  return attempt.text(ATTR_URL_PATH)
}
