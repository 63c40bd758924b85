import { ATTR_ERROR_TYPE } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { callerText } from '../messages.ts'
import { greatest, least } from '../range.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'
import { begunBetween } from '../time-window.ts'

const WORKED: ReadonlySet<string | undefined> = new Set(['rotated', 'renewed', 'reused', 'not_persisted'])
/** An acquisition so soon after one that gave up asks for the same thing once more. */
const AGAIN_WITHIN_MS = 10 * 60_000

/** A caller at the gate stops waiting, and the refresh it wanted succeeds after that. */
export const callbackDeadline: Rule = {
  kind: 'callback_deadline',
  severity: 'warning',
  title: 'A caller stops waiting before its refresh is done',
  symptom:
    'An app-server reports a time-out of its token callback after ten seconds, although the login is fine; the next turn refreshes again.',
  detectedBy: 'an acquisition that ended by its own deadline, linked to a refresh that ended well afterwards',
  remedy: [
    'Nothing needs to be signed in again: the refresh has worked, only too late for this caller.',
    'Let the caller wait longer than the token endpoint takes, or let it ask again: it gets the token that is there by then.',
    'Keep the token warm: a timer that acquires a token at the gate with the reason scheduled makes sure that the callback finds a fresh one.',
    'Where the caller forces a refresh whenever it asks, leave gate.forced at "reuse": asking again must not rotate again.',
  ],
  explains: ['refresh_failing'],
  detect: evidence => {
    const late = evidence.acquisitions.flatMap(acquisition => lateRefreshOf(evidence, acquisition) ?? [])
    return [...Map.groupBy(late, ({ acquisition }) => `${acquisition.caller} ${acquisition.profile}`).values()].map(group =>
      report(evidence, group),
    )
  },
}

interface LateRefresh {
  readonly acquisition: InputSpan
  readonly refresh: InputSpan
}

/** The refresh that an acquisition did not wait for, where it ended well all the same. */
function lateRefreshOf(evidence: Evidence, acquisition: InputSpan): LateRefresh | undefined {
  if (!acquisition.isError || acquisition.text(ATTR_ERROR_TYPE) !== 'GW_ACQUIRE_TIMEOUT') return undefined
  const refresh = acquisition.links.map(({ spanId }) => evidence.byId(spanId)).find(linked => linked !== undefined)
  return refresh && WORKED.has(refresh.outcome) && refresh.endMs > acquisition.endMs ? { acquisition, refresh } : undefined
}

function report(evidence: Evidence, late: readonly LateRefresh[]): FindingDraft {
  const acquisitions = late.map(({ acquisition }) => acquisition)
  const [first] = late
  const waitedMs = greatest(acquisitions.map(({ durationMs }) => durationMs))
  const neededMs = greatest(late.map(({ acquisition, refresh }) => refresh.endMs - acquisition.startMs))
  const endsMs = late.map(({ refresh }) => refresh.endMs)
  const after = begunBetween(evidence.refreshes, least(endsMs), greatest(endsMs) + AGAIN_WITHIN_MS)
  const again = after.filter(
    ({ reason, caller, profile }) => reason === 'forced' && caller === first?.acquisition.caller && profile === first.acquisition.profile,
  )
  return findingDraft(callbackDeadline, evidence, {
    about: [...acquisitions, ...again].sort((a, b) => a.startMs - b.startMs),
    callers: acquisitions,
    what: `${times(acquisitions.length, 'acquisition')} by ${first ? callerText(first.acquisition) : ''} gave up after ${durationOf(waitedMs)}; the refresh worked and took ${durationOf(neededMs)}${again.length > 0 ? `. The caller then forced ${times(again.length, 'further refresh')} of a token that was good` : ''}.`,
    confidence: 'certain',
  })
}
