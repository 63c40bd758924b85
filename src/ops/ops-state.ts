import { clearInterval, setInterval } from 'node:timers'
import { Aggregates } from './aggregates.ts'
import type { Overview } from './api-types.ts'
import type { Feed, OpsDataSource } from './data-source.ts'
import { LiveEvents } from './live-events.ts'
import { ProfileHistory } from './profile-history.ts'

/** How often the state of every profile is noted. */
const STATES_EVERY_MS = 5_000
/** A gateway has better things to do with its memory than a process that shows the page alone. */
const MOST_FACTS_IN_GATEWAY = 50_000

/** What the ops page asks: all it counts, until it is stopped. */
export class OpsState {
  readonly aggregates: Aggregates
  readonly history = new ProfileHistory()
  readonly source: OpsDataSource
  readonly live: LiveEvents
  readonly #feed: Feed
  readonly #timer: NodeJS.Timeout | undefined

  constructor(source: OpsDataSource) {
    this.source = source
    this.aggregates = new Aggregates(source.kind === 'gateway' ? { mostFacts: MOST_FACTS_IN_GATEWAY } : {})
    this.#feed = source.feed(span => this.aggregates.add(span))
    this.live = new LiveEvents(() => `${this.aggregates.version}.${Math.round(this.#feed.read * 100)}.${this.#feed.trouble ? 1 : 0}`)
    if (source.profiles) {
      void this.profiles()
      this.#timer = setInterval(() => void this.profiles(), STATES_EVERY_MS).unref()
    }
  }

  /** What every profile can do right now, noted on the way; `undefined` where no gateway keeps profiles or the store fails. */
  async profiles() {
    try {
      const snapshots = await this.source.profiles?.()
      if (snapshots) this.history.note(snapshots, Date.now())
      return snapshots
    } catch {
      // Counted where it failed; spans still show something of the profiles.
      return undefined
    }
  }

  /** What `diagnose` says. */
  async findings(): Promise<readonly unknown[]> {
    return (await this.source.findings?.()) ?? []
  }

  overview(): Overview {
    const { aggregates, source } = this
    const words = {
      profile: new Set(aggregates.profiles.keys()),
      reason: new Set<string>(),
      outcome: new Set<string>(),
      via: new Set<string>(),
    }
    for (const { reason, outcome, via } of aggregates.refreshes()) {
      words.reason.add(reason)
      if (outcome !== '') words.outcome.add(outcome)
      words.via.add(via)
    }
    const sorted = (of: ReadonlySet<string>) => [...of].sort()
    return {
      source: { kind: source.kind, title: source.title },
      version: source.version,
      nowMs: Date.now(),
      sinceMs: aggregates.sinceMs,
      read: this.#feed.read,
      trouble: this.#feed.trouble,
      unreadable: this.#feed.unreadable,
      spans: aggregates.version,
      forgotten: aggregates.forgotten,
      can: { profiles: source.profiles !== undefined, findings: source.findings !== undefined, probe: source.canProbe },
      words: { profile: sorted(words.profile), reason: sorted(words.reason), outcome: sorted(words.outcome), via: sorted(words.via) },
      totals: aggregates.totals,
    }
  }

  /** Ends the connections of open pages and lets go of the spans' source. */
  stop(): void {
    clearInterval(this.#timer)
    this.#feed.stop()
    this.live.stop()
  }
}
