import { ATTR_ATTEMPT_OUTCOME, ATTR_CLOCK_SKEW, ATTR_CREDENTIAL_EXPIRES_IN, EVENT_CREDENTIAL_RELOADED } from '../../../otel/semconv.ts'
import { type Evidence, type InputSpan, isSameProcess } from '../evidence.ts'
import { processOf } from '../messages.ts'
import { greatest } from '../range.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** The Date header counts whole seconds and networks take some; a minute is nobody's latency. */
const LEAST_SECONDS = 60
/** Of the header and of the answer's way, both ways. */
const INACCURACY_SECONDS = 5

/** The clock of a machine and that of the provider disagree. */
export const clockSkew: Rule = {
  kind: 'clock_skew',
  severity: 'warning',
  title: 'The clock of this machine is wrong by more than a minute',
  symptom:
    'Ahead: tokens are refreshed before they need it, again and again. Behind: calls end in 401 token_expired although the expiry lies ahead.',
  detectedBy: 'the Date header of the token endpoint against our own clock, answer after answer',
  remedy: [
    'Set the clock: let NTP run (timedatectl, chronyc tracking), also in the virtual machine; a laptop that slept may need a moment.',
    'No sign-in is needed: the login is fine.',
    'Compare with the clock of a second machine if the provider itself may be wrong.',
  ],
  explains: ['rejected_while_valid', 'same_token_retried', 'refresh_failing'],
  detect: evidence => {
    const skewed = evidence.refreshes.filter(refresh => Math.abs(refresh.number(ATTR_CLOCK_SKEW) ?? 0) >= LEAST_SECONDS)
    return [...Map.groupBy(skewed, directionOf).values()].map(group => report(evidence, group))
  },
}

/** One finding for each process and direction: another process may stand on another machine. */
function directionOf(refresh: InputSpan): string {
  const { process, provider } = refresh
  return `${provider} ${process?.host} ${process?.pid} ${Math.sign(refresh.number(ATTR_CLOCK_SKEW) ?? 0)}`
}

function report(evidence: Evidence, skewed: readonly InputSpan[]): FindingDraft {
  const skews = skewed.map(refresh => refresh.number(ATTR_CLOCK_SKEW) ?? 0)
  const [first] = skewed
  const isBehind = (skews[0] ?? 0) > 0
  const most = greatest(skews.map(Math.abs))
  const rejected = isBehind && first ? evidence.attempts.filter(attempt => isRejectedInTime(attempt, first, most)) : []
  const early = isBehind ? [] : skewed.filter(isEarly)
  const severity = isBehind
    ? `${times(rejected.length, 'call')} ended in 401 with time left to the expiry`
    : `${times(early.length, 'refresh')} of tokens that were expired by this clock, and may have been good by the other`
  const isAlone = skewed.length === 1 && rejected.length === 0
  return findingDraft(clockSkew, evidence, {
    about: [...skewed, ...rejected].sort((a, b) => a.startMs - b.startMs),
    what: `The clock of ${first ? processOf(first) : ''} is ${most} s ${isBehind ? 'behind' : 'ahead of'} that of the token endpoint of ${first?.provider}, by ${times(skewed.length, 'answer')}; ${severity}.`,
    confidence: isAlone ? 'likely' : 'certain',
    ...(isAlone && { surerBy: 'another answer of the token endpoint that shows the same, or the clock of the machine itself' }),
  })
}

/** A refresh of a token that was expired by our clock, and not by that of the provider. */
function isEarly(refresh: InputSpan): boolean {
  const [reloaded] = refresh.events(EVENT_CREDENTIAL_RELOADED)
  const left = reloaded?.number(ATTR_CREDENTIAL_EXPIRES_IN) ?? refresh.number(ATTR_CREDENTIAL_EXPIRES_IN)
  const isDue = refresh.reason === 'expired' || refresh.reason === 'expiring'
  return isDue && left !== undefined && left + Math.abs(refresh.number(ATTR_CLOCK_SKEW) ?? 0) > 0
}

/** A refusal that the wrong clock explains: the token had expired for the provider, and not yet for us. */
function isRejectedInTime(attempt: InputSpan, refresh: InputSpan, skewSeconds: number): boolean {
  const left = attempt.number(ATTR_CREDENTIAL_EXPIRES_IN)
  const outcome = attempt.text(ATTR_ATTEMPT_OUTCOME)
  return (
    attempt.status === 401 &&
    (outcome === 'auth' || outcome === 'auth_permanent') &&
    left !== undefined &&
    left > 0 &&
    left <= skewSeconds + INACCURACY_SECONDS &&
    attempt.provider === refresh.provider &&
    isSameProcess(attempt, refresh)
  )
}
