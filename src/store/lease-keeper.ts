import { setTimeout as wait } from 'node:timers/promises'
import { GatewayError } from '../domain/gateway-error.ts'
import { BEATS_PER_TTL, type LeaseHolder, type LeaseTable, type Renewal } from './lease-table.ts'
import type { Lease, LeaseOptions } from './profile-store.ts'
import { closed } from './store-failure.ts'

export interface LeaseKeeperOptions {
  /** How long a holder may be silent before its lease may be taken, in ms. */
  ttlMs: number
  /** Milliseconds that never jump. */
  monotonic: () => number
}

const SHORTEST_PAUSE_MS = 5
const LONGEST_PAUSE_MS = 100

/** Waits for leases, keeps them alive while they are held, and says when one is lost. */
export class LeaseKeeper {
  readonly #table: LeaseTable
  readonly #options: LeaseKeeperOptions
  readonly #held = new Set<HeldLease>()
  readonly #closing = new AbortController()

  constructor(table: LeaseTable, options: LeaseKeeperOptions) {
    this.#table = table
    this.#options = options
  }

  /**
   * Waits for the right to refresh one profile.
   *
   * @throws {GatewayError} `GW_LEASE_TIMEOUT` naming the holder's process after `waitMs`, `GW_VISIT_ABORTED` when
   *   `signal` aborts, `GW_CLOSED`, and what `LeaseTable.claim` throws.
   */
  async lease(profileId: string, { waitMs, signal }: LeaseOptions): Promise<Lease> {
    const { monotonic } = this.#options
    const start = monotonic()
    const stop = signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal
    for (let pauseMs = SHORTEST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      if (this.#closing.signal.aborted) throw closed()
      if (signal?.aborted) throw aborted(signal)
      const claim = this.#table.claim(profileId)
      const waitedMs = monotonic() - start
      if (claim.kind === 'held') return this.#keep(profileId, claim.holder, waitedMs, claim.takenFrom)
      if (waitedMs >= waitMs) throw timedOut(waitMs, claim.by)
      await wait(Math.min(waitMs - waitedMs, pauseMs * (0.5 + Math.random())), undefined, { signal: stop }).catch(() => {})
    }
  }

  /** Gives back every lease, those whose release is under way included, and ends all waiting. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all([...this.#held].map(lease => lease.giveUp()))
    this.#table.close()
  }

  #keep(profileId: string, holder: string, waitedMs: number, takenFrom: number | undefined): Lease {
    const lease = new HeldLease(profileId, holder, this.#table, this.#options, () => this.#held.delete(lease))
    this.#held.add(lease)
    return {
      waitedMs,
      ...(takenFrom !== undefined && { takenFrom }),
      lost: lease.lost,
      release: () => lease.release(),
    }
  }
}

/** A lease that is held: a beat every third of its time to live, until it is released or lost. */
class HeldLease {
  readonly #profileId: string
  readonly #holder: string
  readonly #table: LeaseTable
  readonly #options: LeaseKeeperOptions
  readonly #onEnd: () => void
  readonly #lost = new AbortController()
  #lastBeat: number
  #timer: NodeJS.Timeout | undefined
  #ended: Promise<void> | undefined

  constructor(profileId: string, holder: string, table: LeaseTable, options: LeaseKeeperOptions, onEnd: () => void) {
    this.#profileId = profileId
    this.#holder = holder
    this.#table = table
    this.#options = options
    this.#onEnd = onEnd
    this.#lastBeat = options.monotonic()
    this.#beatIn(options.ttlMs / BEATS_PER_TTL)
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  release(): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  /** Releases it although its user is not done, and tells him. */
  giveUp(): Promise<void> {
    this.#lost.abort(closed())
    return this.release()
  }

  #beatIn(pauseMs: number): void {
    this.#timer = setTimeout(() => this.#beat(), pauseMs).unref()
  }

  #beat(): void {
    const { ttlMs, monotonic } = this.#options
    const renewal = this.#tryRenew()
    if (renewal === 'renewed') {
      this.#lastBeat = monotonic()
      this.#beatIn(ttlMs / BEATS_PER_TTL)
    } else if (renewal === 'lost' || monotonic() - this.#lastBeat >= ttlMs) {
      this.#onEnd()
      this.#ended ??= Promise.resolve() // what is lost is not ours to give back
      this.#lost.abort(
        new GatewayError('GW_LEASE_TIMEOUT', 'the lease was lost: this process was silent for too long', { next: 'try_again_later' }),
      )
    } else {
      this.#beatIn(Math.min(ttlMs / 10, LONGEST_PAUSE_MS) * (0.5 + Math.random()))
    }
  }

  /** A table that cannot be written is as good as a busy one: either it can be again in time, or the lease is lost. */
  #tryRenew(): Renewal {
    try {
      return this.#table.renew(this.#profileId, this.#holder)
    } catch {
      return 'busy'
    }
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer)
    const { ttlMs, monotonic } = this.#options
    try {
      // Beyond its time to live another process takes it anyway.
      for (const start = monotonic(); monotonic() - start < ttlMs; await wait(SHORTEST_PAUSE_MS * (0.5 + Math.random())))
        if (this.#table.release(this.#profileId, this.#holder)) return
    } catch {
      // A table that cannot be used is left alone: the lease ends with this process, or with its time to live.
    } finally {
      this.#onEnd()
    }
  }
}

function aborted(signal: AbortSignal): GatewayError {
  return new GatewayError('GW_VISIT_ABORTED', 'the caller left while waiting for the lease', { next: 'nothing', cause: signal.reason })
}

function timedOut(waitMs: number, by: LeaseHolder | undefined): GatewayError {
  const who = by ? `process ${by.pid} on ${by.host.split(' ')[0]}` : 'another process'
  const message = `${who} has been refreshing this profile for longer than ${Math.round(waitMs)} ms; try again, or end that process if it hangs`
  return new GatewayError('GW_LEASE_TIMEOUT', message, { next: 'try_again_later', ...(by && { heldBy: by.pid }) })
}
