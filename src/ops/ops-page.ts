import { clearInterval, setInterval } from 'node:timers'
import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import type { Diagnosis } from '../diagnose/diagnose.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import type { EventSource } from '../events/event-store.ts'
import type { StoreOverview } from '../events/queries/answers.ts'
import type { Overview } from './api-types.ts'
import { LiveEvents } from './live-events.ts'
import { ProfileHistory } from './profile-history.ts'

/** Which findings are wanted. */
interface FindingsRange {
  /** Beginning of the events that are read, epoch ms; 0 for all of them. */
  readonly sinceMs: number
  /** The only profile whose findings are wanted. */
  readonly profile?: string
}

/** What the ops page shows: a gateway in this process, or what watched processes recorded in a state folder. */
export interface OpsDataSource {
  readonly kind: 'gateway' | 'folder'
  /** What to call it. */
  readonly title: string
  readonly version: string
  readonly events: EventSource
  /** Why there is nothing to be seen, for people; `undefined` where there is something. */
  readonly trouble?: () => string | undefined
  /** What every profile can do right now, where a gateway keeps profiles. */
  readonly profiles?: () => Promise<readonly ProfileSnapshot[]>
  /** What `diagnose` says now. */
  readonly findings?: (range: FindingsRange) => Promise<Diagnosis>
  /** `POST /ops/probe` is answered. */
  readonly canProbe: boolean
}

/** How often the state of every profile is noted. */
const STATES_EVERY_MS = 5_000
const NOTHING: StoreOverview = {
  ...{ sinceMs: undefined, events: 0, forgotten: 0 },
  words: { profile: [], reason: [], outcome: [], via: [] },
  totals: { refreshes: 0, bypasses: 0, replays: 0, fallbacks: 0 },
}

/** What the ops page answers from; `opsRouter` serves it. */
export class OpsPage {
  readonly source: OpsDataSource
  readonly live: LiveEvents
  readonly history = new ProfileHistory()
  readonly #timer: NodeJS.Timeout | undefined

  /** Begins to note the states of profiles. */
  constructor(source: OpsDataSource) {
    this.source = source
    this.live = new LiveEvents(() => this.#version())
    if (source.profiles) {
      void this.profiles()
      this.#timer = setInterval(() => void this.profiles(), STATES_EVERY_MS).unref()
    }
  }

  /** What every profile can do right now, noted on the way; `undefined` where no gateway keeps profiles or the store fails. */
  async profiles(): Promise<readonly ProfileSnapshot[] | undefined> {
    try {
      const snapshots = await this.source.profiles?.()
      if (snapshots) this.history.note(snapshots, Date.now())
      return snapshots
    } catch {
      // Counted where it failed; events still show something of the profiles.
      return undefined
    }
  }

  async overview(): Promise<Overview> {
    const { kind, title, version, profiles, findings, canProbe } = this.source
    const { trouble, ...store } = await this.#store()
    return {
      source: { kind, title },
      version,
      nowMs: Date.now(),
      trouble,
      can: { profiles: profiles !== undefined, findings: findings !== undefined, probe: canProbe },
      ...store,
    }
  }

  /** Ends the connections of open pages. */
  stop(): void {
    clearInterval(this.#timer)
    this.live.stop()
  }

  async #store(): Promise<StoreOverview & Pick<Overview, 'trouble'>> {
    try {
      return { ...(await this.source.events.query('storeOverview', undefined)), trouble: this.source.trouble?.() }
    } catch (error) {
      if (!isGatewayError(error)) throw error
      return { ...NOTHING, trouble: error.message }
    }
  }

  /** Changes with everything that is recorded. */
  async #version(): Promise<string> {
    try {
      return await this.source.events.query('storeVersion', undefined)
    } catch {
      // The overview reports why.
      return 'unreadable'
    }
  }
}
