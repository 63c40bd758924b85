import type { EventFacts, EventKind, StepName } from '../domain/events.ts'

const KINDS: ReadonlySet<EventKind> = new Set(['token_request', 'login', 'import', 'side_channel'])
const STEPS: ReadonlySet<StepName> = new Set(['bypass', 'fallback', 'skipped', 'replay'])

/** Says whether an event of that kind is always worth keeping: an OAuth operation. */
export function isAlwaysKeptKind(kind: EventKind): boolean {
  return KINDS.has(kind)
}

/** Says whether an event in which this happened is worth keeping: a bypass, a fallback, a skipped profile, a replay. */
export function isAlwaysKeptStep(name: StepName): boolean {
  return STEPS.has(name)
}

/**
 * Says whether what an event has come to makes its trace worth keeping: an error, an acquisition that was no plain reuse or had to
 * do with a refresh, an attempt that did not succeed.
 */
export function isNotable(event: EventFacts): boolean {
  if (event.isError) return true
  switch (event.kind) {
    case 'acquire':
      return event.outcome !== undefined || (event.decision !== undefined && event.decision !== 'reuse')
    case 'call':
    case 'attempt':
      return event.outcome !== undefined && event.outcome !== 'ok'
    default:
      return false
  }
}
