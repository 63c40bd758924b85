import type { EventSource } from '../events/event-store.ts'
import type { EventCounts } from '../events/queries/counts.ts'
import type { ListedRefresh, RefreshListFilter } from '../events/queries/refresh-list.ts'
import { refused } from '../settings/options.ts'

/** Which recorded refreshes are wanted; what is left out does not matter. */
export type RefreshFilter = Omit<RefreshListFilter, 'after'>

const NUMBERS = ['sinceMs', 'most'] as const satisfies readonly (keyof RefreshFilter)[]
const WORDS = [
  'provider',
  'profile',
  'caller',
  'callerPart',
  'reason',
  'via',
  'outcome',
] as const satisfies readonly (keyof RefreshFilter)[]
const KEYS: readonly string[] = [...WORDS, ...NUMBERS]

/**
 * What was observed, read back: by this process, and with `recordIn` by every process of that state folder. Nothing in it is secret;
 * what was observed in the last fifth of a second may still be missing.
 */
export class RecordedEvents {
  /** @internal */
  readonly source: EventSource

  /** @internal */
  constructor(source: EventSource) {
    this.source = source
  }

  /**
   * Refreshes that were seen, the newest first: through the gate, past it (`via: 'bypass'`) or by a wrapped function, each with
   * its caller, reason and outcome.
   *
   * @throws {GatewayError} `GW_CONFIG` for a filter that is none, or a store's code where the state folder cannot be read.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch({ recordIn: './state' })
   * for (const { caller, reason, stack } of await watch.events.refreshes({ via: 'bypass', most: 10 })) console.log(caller, reason, stack)
   */
  async refreshes(filter: RefreshFilter = {}): Promise<readonly ListedRefresh[]> {
    requireFilter(filter)
    const { refreshes } = await this.source.query('refreshList', filter)
    return refreshes
  }

  /**
   * How often each caller refreshed, acquired and fell back since recording began: counts outlive the events that they count.
   *
   * @throws {GatewayError} a store's code where the state folder cannot be read.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch({ recordIn: './state' })
   * const { fallbacks } = await watch.events.counts()
   * for (const { from, to, reason, count } of fallbacks) console.log(from, to, reason, count)
   */
  counts(): Promise<EventCounts> {
    return this.source.query('eventCounts', undefined)
  }
}

/** A word that is misspelt would list every refresh. */
function requireFilter(filter: RefreshFilter): void {
  const unknown = Object.keys(filter).filter(key => !KEYS.includes(key))
  const notNumbers = NUMBERS.filter(key => filter[key] !== undefined && !Number.isFinite(filter[key]))
  const wrong = [
    ...unknown.map(key => `${key}: is an unknown key; allowed: ${KEYS.join(', ')}`),
    ...notNumbers.map(key => `${key}: is a ${typeof filter[key]}, allowed: a number`),
  ]
  if (wrong.length > 0) throw refused('events.refreshes', wrong)
}
