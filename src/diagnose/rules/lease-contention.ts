import { ATTR_LEASE_HOLDER, EVENT_LEASE_LOST } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import { byProfile, type Evidence, type SeenSpan } from '../evidence.ts'
import { callerOf, processOf } from '../messages.ts'
import { greatest } from '../range.ts'
import { type Found, found, type Rule, times } from '../rule.ts'

/** Somebody keeps the right to refresh for longer than others can wait. */
export const leaseContention: Rule = {
  kind: 'lease_contention',
  harm: 'divergence',
  title: 'Refreshes wait in vain: another process keeps the lease of the profile',
  symptom: 'Calls fail or hang in one process while another one is busy with a refresh; the token endpoint never hears of them.',
  toldBy: 'the outcome contention: the lease was asked for and not got, or lost, and nothing was sent; the process that held it',
  remedy: [
    'Look at the process named here as the holder: if it hangs, end it. The lease of a dead process is free at once.',
    'If it waits for a slow token endpoint, set gate.leaseWaitMs to more than gate.requestTimeoutMs: those who wait then get the token it brings.',
    'Nobody has to sign in: nothing was sent, the login is untouched.',
  ],
  explains: ['refresh_failing'],
  look: evidence => {
    const starved = evidence.flights.filter(({ outcome }) => outcome === 'contention')
    return [...byProfile(starved).values()].map(group => tell(evidence, group))
  },
}

function tell(evidence: Evidence, about: readonly SeenSpan[]): Found {
  const [first] = about
  const last = about.findLast(flight => flight.text(ATTR_LEASE_HOLDER) !== undefined)
  const lost = about.filter(flight => flight.hasEvent(EVENT_LEASE_LOST)).length
  const pids = [...new Set(about.map(flight => flight.text(ATTR_LEASE_HOLDER)))].filter(pid => pid !== undefined)
  const holding = last && evidence.flights.find(flight => isHeldBy(last, flight))
  const longestMs = greatest(about.map(({ durationMs }) => durationMs))
  const who = pids.length === 0 ? 'a process that is not known' : `process ${pids.join(', ')}`
  return found(leaseContention, evidence, {
    about,
    what: `${times(about.length, 'refresh')} by ${first ? `${processOf(first)}, for ${callerOf(first)},` : ''} got no lease within ${durationOf(longestMs)} and ended with nothing sent; ${who} held it${holding ? `: its refresh, for ${callerOf(holding)}, took ${durationOf(holding.durationMs)} (${holding.outcome})` : ', and no refresh of it was recorded: it may hang, or it is not watched'}${lost > 0 ? `. ${times(lost, 'lease')} taken away from a process that was silent for too long` : ''}.`,
    confidence: pids.length > 0 || lost > 0 ? 'certain' : 'likely',
    ...(pids.length === 0 && lost === 0 && { surerBy: 'the process id of the holder, which the store could not tell at that moment' }),
  })
}

/** The flight under way, in the process that held the lease, while the other one waited. */
function isHeldBy(starved: SeenSpan, flight: SeenSpan): boolean {
  return (
    flight !== starved &&
    flight.profile === starved.profile &&
    flight.startMs < starved.endMs &&
    flight.endMs > starved.startMs &&
    flight.process !== undefined &&
    String(flight.process.pid) === starved.text(ATTR_LEASE_HOLDER)
  )
}
