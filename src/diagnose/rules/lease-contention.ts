import { ATTR_LEASE_HOLDER, EVENT_LEASE_LOST } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import { byProfile, type Evidence, type InputSpan } from '../evidence.ts'
import { callerText, processOf } from '../messages.ts'
import { greatest } from '../range.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** Somebody keeps the right to refresh for longer than others can wait. */
export const leaseContention: Rule = {
  kind: 'lease_contention',
  severity: 'divergence',
  title: 'Refreshes wait in vain: another process keeps the lease of the profile',
  symptom: 'Calls fail or hang in one process while another one is busy with a refresh; the token endpoint never hears of them.',
  detectedBy: 'the outcome contention: the lease was asked for and not got, or lost, and nothing was sent; the process that held it',
  remedy: [
    'Look at the process named here as the holder: if it hangs, end it. The lease of a dead process is free at once.',
    'If it waits for a slow token endpoint, set gate.leaseWaitMs to more than gate.requestTimeoutMs: those who wait then get the token it brings.',
    'No sign-in is needed: nothing was sent, the login is untouched.',
  ],
  explains: ['refresh_failing'],
  detect: evidence => {
    const starved = evidence.gateRefreshes.filter(({ outcome }) => outcome === 'contention')
    return [...byProfile(starved).values()].map(group => report(evidence, group))
  },
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const last = about.findLast(refresh => refresh.text(ATTR_LEASE_HOLDER) !== undefined)
  const lost = about.filter(refresh => refresh.hasEvent(EVENT_LEASE_LOST)).length
  const pids = [...new Set(about.map(refresh => refresh.text(ATTR_LEASE_HOLDER)))].filter(pid => pid !== undefined)
  const holding = last && evidence.gateRefreshes.find(refresh => isHeldBy(last, refresh))
  const longestMs = greatest(about.map(({ durationMs }) => durationMs))
  const who = pids.length === 0 ? 'a process that is not known' : `process ${pids.join(', ')}`
  return findingDraft(leaseContention, evidence, {
    about,
    what: `${times(about.length, 'refresh')} by ${first ? `${processOf(first)}, for ${callerText(first)},` : ''} got no lease within ${durationOf(longestMs)} and ended with nothing sent; ${who} held it${holding ? `: its refresh, for ${callerText(holding)}, took ${durationOf(holding.durationMs)} (${holding.outcome})` : ', and no refresh of it was recorded: it may hang, or it is not watched'}${lost > 0 ? `. ${times(lost, 'lease')} taken away from a process that was silent for too long` : ''}.`,
    confidence: pids.length > 0 || lost > 0 ? 'certain' : 'likely',
    ...(pids.length === 0 && lost === 0 && { surerBy: 'the process id of the holder, which the store did not know at that moment' }),
  })
}

/** The refresh under way, in the process that held the lease, while the other one waited. */
function isHeldBy(starved: InputSpan, refresh: InputSpan): boolean {
  return (
    refresh !== starved &&
    refresh.profile === starved.profile &&
    refresh.startMs < starved.endMs &&
    refresh.endMs > starved.startMs &&
    refresh.process !== undefined &&
    String(refresh.process.pid) === starved.text(ATTR_LEASE_HOLDER)
  )
}
