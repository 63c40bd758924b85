import { clearInterval, setInterval } from 'node:timers'
import { Ledger } from './aggregates.ts'
import type { Overview } from './api-types.ts'
import type { Feed, Shown } from './data-source.ts'
import { LiveEvents } from './live-events.ts'
import { ProfileHistory } from './profile-history.ts'

/** How often the state of every profile is noted. */
const STATES_EVERY_MS = 5_000
/** A gateway has better things to do with its memory than a process that shows the page alone. */
const MOST_FACTS_IN_GATEWAY = 50_000

/** What the ops page asks: all it counts, until it is stopped. */
export class OpsDesk {
  readonly ledger: Ledger
  readonly history = new ProfileHistory()
  readonly shown: Shown
  readonly live: LiveEvents
  readonly #feed: Feed
  readonly #timer: NodeJS.Timeout | undefined

  constructor(shown: Shown) {
    this.shown = shown
    this.ledger = new Ledger(shown.kind === 'gateway' ? { mostFacts: MOST_FACTS_IN_GATEWAY } : {})
    this.#feed = shown.feed(span => this.ledger.add(span))
    this.live = new LiveEvents(() => `${this.ledger.version}.${Math.round(this.#feed.read * 100)}.${this.#feed.trouble ? 1 : 0}`)
    if (shown.profiles) {
      void this.profiles()
      this.#timer = setInterval(() => void this.profiles(), STATES_EVERY_MS).unref()
    }
  }

  /** What every profile can do right now, noted on the way; `undefined` where nobody keeps profiles or the store fails. */
  async profiles() {
    try {
      const snapshots = await this.shown.profiles?.()
      if (snapshots) this.history.note(snapshots, Date.now())
      return snapshots
    } catch {
      // Counted where it failed; spans still tell something of the profiles.
      return undefined
    }
  }

  /** What `diagnose` says. */
  async findings(): Promise<readonly unknown[]> {
    return (await this.shown.findings?.()) ?? []
  }

  overview(): Overview {
    const { ledger, shown } = this
    const words = {
      profile: new Set(ledger.profiles.keys()),
      reason: new Set<string>(),
      outcome: new Set<string>(),
      via: new Set<string>(),
    }
    for (const { reason, outcome, via } of ledger.refreshes()) {
      words.reason.add(reason)
      if (outcome !== '') words.outcome.add(outcome)
      words.via.add(via)
    }
    const sorted = (of: ReadonlySet<string>) => [...of].sort()
    return {
      source: { kind: shown.kind, title: shown.title },
      version: shown.version,
      nowMs: Date.now(),
      sinceMs: ledger.sinceMs,
      read: this.#feed.read,
      trouble: this.#feed.trouble,
      unreadable: this.#feed.unreadable,
      spans: ledger.version,
      forgotten: ledger.forgotten,
      can: { profiles: shown.profiles !== undefined, findings: shown.findings !== undefined, probe: shown.canProbe },
      words: { profile: sorted(words.profile), reason: sorted(words.reason), outcome: sorted(words.outcome), via: sorted(words.via) },
      totals: ledger.totals,
    }
  }

  /** Ends the connections of open pages and lets go of the spans' source. */
  stop(): void {
    clearInterval(this.#timer)
    this.#feed.stop()
    this.live.stop()
  }
}
