import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_ERROR_TYPE,
  ATTR_LAST_RESORT,
  ATTR_PROFILE,
  ATTR_SKIP_REASON,
  EVENT_SKIPPED,
} from '../../../otel/semconv.ts'
import { wordsOf } from '../counters.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { greatest } from '../range.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const GIVEN_UP: ReadonlySet<string | undefined> = new Set(['GW_ALL_PROFILES_FAILED', 'GW_NO_PROFILE'])
/** What rests a profile. Anything else is no matter of profiles. */
const RESTS: ReadonlySet<string | undefined> = new Set(['rate_limit', 'overloaded', 'auth', 'auth_permanent', 'billing'])

/** Reasons to pass over a profile that no request fails for, so that no other finding names them; and what ends each. */
const STANDING_REASONS: Readonly<Record<string, string>> = {
  expired: 'Replace the token that has expired (gatewatch profiles add), or sign in.',
  missing_credential: 'Store a credential for the profile (gatewatch login, gatewatch profiles add), or set the variable of its key.',
  excluded_by_order: 'Add the profile to the order in the settings.',
  billing_denied: 'Allow the fallback to a metered profile in the settings, or add a profile of the same billing.',
  mode_mismatch: 'Ask at an endpoint that a profile can answer, or add a profile for this one.',
}

/** Profile after profile rests, until nobody is left. */
export const allProfilesResting: Rule = {
  kind: 'all_profiles_resting',
  severity: 'warning',
  title: 'Every profile that could serve rests or fails',
  symptom: 'No model answers for a while, whichever is asked; later everything works again.',
  detectedBy:
    'calls that failed at all of several profiles, each for a reason of its own, and calls that tried profiles which were resting, for want of others',
  remedy: [
    'Look at each profile by itself: a used-up quota comes back by itself at its reset, a refused login does not.',
    'Sign in again where the reason is auth; add a profile or a paid key where it is rate_limit or billing.',
    'Another model of the same profiles does not help while the profiles themselves rest.',
  ],
  explains: ['rejected_while_valid'],
  detect: evidence => {
    const failed = evidence.calls.filter(
      call => call.isError && GIVEN_UP.has(call.text(ATTR_ERROR_TYPE)) && failedAtSeveral(evidence, call),
    )
    const resting = failed.some(call => call.flag(ATTR_LAST_RESORT) === true) ? [report(evidence, failed)] : []
    return [...resting, ...noProfileServes(evidence)]
  },
}

/** Calls that reached no provider since no profile could be tried, with none served after them. */
function noProfileServes(evidence: Evidence): FindingDraft[] {
  const calls = evidence.calls.filter(
    call => call.isError && GIVEN_UP.has(call.text(ATTR_ERROR_TYPE)) && attemptsOf(evidence, call).length === 0 && isStanding(call),
  )
  if (calls.length === 0 || evidence.calls.some(call => call.isServed && call.startMs >= greatest(calls.map(({ endMs }) => endMs))))
    return []
  const skips = calls.flatMap(call => call.events(EVENT_SKIPPED))
  const reasons = [...new Set(skips.map(skip => `${skip.text(ATTR_PROFILE)}: ${skip.text(ATTR_SKIP_REASON)}`))]
  const remedy = [...new Set(skips.flatMap(skip => STANDING_REASONS[skip.text(ATTR_SKIP_REASON) ?? ''] ?? []))]
  return [
    findingDraft(allProfilesResting, evidence, {
      about: calls,
      title: 'No profile can serve a call',
      what: `${times(calls.length, 'call')} reached no provider, since each profile was passed over (${reasons.join(', ')}). No call has worked since.`,
      remedy,
      confidence: 'certain',
    }),
  ]
}

function isStanding(call: InputSpan): boolean {
  const skips = call.events(EVENT_SKIPPED)
  return skips.length > 0 && skips.every(skip => Object.hasOwn(STANDING_REASONS, skip.text(ATTR_SKIP_REASON) ?? ''))
}

/** All profiles of the call that failed, with those that were passed over. */
function failedAtSeveral(evidence: Evidence, call: InputSpan): boolean {
  const attempts = attemptsOf(evidence, call)
  const profiles = new Set([
    ...attempts.map(({ profile }) => profile),
    ...call.events(EVENT_SKIPPED).map(event => event.text(ATTR_PROFILE)),
  ])
  return profiles.size > 1 && attempts.every(attempt => RESTS.has(attempt.text(ATTR_ATTEMPT_OUTCOME)))
}

function attemptsOf(evidence: Evidence, call: InputSpan): InputSpan[] {
  return evidence.childrenOf(call).filter(child => child.text(ATTR_ATTEMPT_OUTCOME) !== undefined)
}

function report(evidence: Evidence, calls: readonly InputSpan[]): FindingDraft {
  const attempts = calls.flatMap(call => attemptsOf(evidence, call))
  const reasons = wordsOf(attempts, attempt => `${attempt.profile}: ${attempt.providerCode ?? attempt.text(ATTR_ATTEMPT_OUTCOME)}`)
  const lastMs = greatest(calls.map(({ endMs }) => endMs))
  const resting = calls.filter(call => call.flag(ATTR_LAST_RESORT) === true).length
  const models = wordsOf(attempts, ({ name }) => name.split(' ')[1]).map(({ word }) => word)
  const again = evidence.calls.find(call => call.isServed && call.startMs >= lastMs && call.profile !== undefined)
  return findingDraft(allProfilesResting, evidence, {
    about: [...calls, ...attempts].sort((a, b) => a.startMs - b.startMs),
    callers: calls,
    what: `${times(calls.length, 'call')} failed at every profile (${reasons.map(({ word, count }) => `${word} ${count}`).join(', ')}); for ${resting} of them all profiles were resting already and were tried for want of others${models.length > 1 ? `, with ${models.join(' and ')}` : ''}. ${again ? `${again.profile} serves again since ${new Date(again.startMs).toISOString()}.` : 'No call has worked since.'}`,
    confidence: 'certain',
  })
}
