import { ATTR_ERROR_TYPE } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import type { Evidence, SeenSpan } from '../evidence.ts'
import { callerOf } from '../messages.ts'
import { greatest, least } from '../range.ts'
import { type Found, found, type Rule, times } from '../rule.ts'
import { begunBetween } from '../time-window.ts'

const WORKED: ReadonlySet<string | undefined> = new Set(['rotated', 'renewed', 'reused', 'not_persisted'])
/** A visit so soon after one that gave up asks for the same thing once more. */
const AGAIN_WITHIN_MS = 10 * 60_000

/** A visitor at the gate stops waiting, and the refresh it wanted succeeds after that. */
export const callbackDeadline: Rule = {
  kind: 'callback_deadline',
  harm: 'warning',
  title: 'A caller stops waiting before its refresh is done',
  symptom:
    'An app-server reports a time-out of its token callback after ten seconds, although the login is fine; the next turn refreshes again.',
  toldBy: 'a visit that ended by its own deadline, linked to a flight that ended well afterwards',
  remedy: [
    'Nothing needs to be signed in again: the refresh has worked, only too late for this caller.',
    'Let the caller wait longer than the token endpoint takes, or let it ask again: it gets the token that is there by then.',
    'Keep the token warm: a timer that visits the gate with the reason scheduled makes sure that the callback finds a fresh one.',
    'Where the caller forces a refresh whenever it asks, leave gate.forced at "reuse": asking again must not rotate again.',
  ],
  explains: ['refresh_failing'],
  look: evidence => {
    const late = evidence.visits.flatMap(visit => lateFlightOf(evidence, visit) ?? [])
    return [...Map.groupBy(late, ({ visit }) => `${visit.caller} ${visit.profile}`).values()].map(group => tell(evidence, group))
  },
}

interface LateFlight {
  readonly visit: SeenSpan
  readonly flight: SeenSpan
}

/** The flight that a visit did not wait for, where it ended well all the same. */
function lateFlightOf(evidence: Evidence, visit: SeenSpan): LateFlight | undefined {
  if (!visit.isError || visit.text(ATTR_ERROR_TYPE) !== 'GW_VISIT_TIMEOUT') return undefined
  const flight = visit.links.map(({ spanId }) => evidence.byId(spanId)).find(linked => linked !== undefined)
  return flight && WORKED.has(flight.outcome) && flight.endMs > visit.endMs ? { visit, flight } : undefined
}

function tell(evidence: Evidence, late: readonly LateFlight[]): Found {
  const visits = late.map(({ visit }) => visit)
  const [first] = late
  const waitedMs = greatest(visits.map(({ durationMs }) => durationMs))
  const neededMs = greatest(late.map(({ visit, flight }) => flight.endMs - visit.startMs))
  const endsMs = late.map(({ flight }) => flight.endMs)
  const after = begunBetween(evidence.refreshes, least(endsMs), greatest(endsMs) + AGAIN_WITHIN_MS)
  const again = after.filter(
    ({ reason, caller, profile }) => reason === 'forced' && caller === first?.visit.caller && profile === first.visit.profile,
  )
  return found(callbackDeadline, evidence, {
    about: [...visits, ...again].sort((a, b) => a.startMs - b.startMs),
    callers: visits,
    what: `${times(visits.length, 'visit')} by ${first ? callerOf(first.visit) : ''} gave up after ${durationOf(waitedMs)}; the refresh worked and took ${durationOf(neededMs)}${again.length > 0 ? `. The caller then forced ${times(again.length, 'further refresh')} of a token that was good` : ''}.`,
    confidence: 'certain',
  })
}
