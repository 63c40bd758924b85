import { setTimeout as wait } from 'node:timers/promises'
import { durationOf } from '../domain/duration-text.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { uptimeMs } from '../tools/clock.ts'
import { BEATS_PER_TTL, type LeaseHolder, type LeaseTable, type Renewal } from './lease-table.ts'
import { isDead } from './process-identity.ts'
import type { Lease, LeaseOptions } from './profile-store.ts'
import { closed } from './store-failure.ts'

export interface LeaseKeeperOptions {
  /** How long a holder may be silent before its lease may be taken, in ms. */
  ttlMs: number
  /** Milliseconds that never jump. */
  monotonic: () => number
  /** Milliseconds that go on while the machine sleeps, good to a second. @default `uptimeMs` */
  sleepless?: () => number
}

const SHORTEST_PAUSE_MS = 5
const LONGEST_PAUSE_MS = 100
/** Longest time `confirm` stands still for other processes that are changing the table; their transactions are short. */
const CONFIRM_MS = 50

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
   * @throws {GatewayError} `GW_LEASE_TIMEOUT` naming the holder's process after `waitMs`, `GW_ACQUIRE_ABORTED` when
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

  #keep(profileId: string, holder: string, waitedMs: number, takenFrom: LeaseHolder | undefined): Lease {
    const lease = new HeldLease(profileId, holder, this.#table, this.#options, () => this.#held.delete(lease))
    this.#held.add(lease)
    return {
      waitedMs,
      ...(takenFrom && { takenFrom: takenFrom.pid }),
      mayGoOn: () => takenFrom?.confirmed === 1 && !isDead(takenFrom),
      lost: lease.lost,
      confirm: () => lease.confirm(),
      release: () => lease.release(),
    }
  }
}

/** One moment by two clocks: the finer one stands still while the machine sleeps. */
interface Moment {
  readonly monotonic: number
  readonly sleepless: number
}

/** How coarse the clock may be that goes on while the machine sleeps. */
const SLEEPLESS_GRAIN_MS = 1_000

/** A lease that is held: a beat every third of its time to live, until it is released or lost. */
class HeldLease {
  readonly #profileId: string
  readonly #holder: string
  readonly #table: LeaseTable
  readonly #options: LeaseKeeperOptions
  readonly #onEnd: () => void
  readonly #lost = new AbortController()
  #lastBeat: Moment
  #timer: NodeJS.Timeout | undefined
  #ended: Promise<void> | undefined

  constructor(profileId: string, holder: string, table: LeaseTable, options: LeaseKeeperOptions, onEnd: () => void) {
    this.#profileId = profileId
    this.#holder = holder
    this.#table = table
    this.#options = options
    this.#onEnd = onEnd
    this.#lastBeat = this.#now()
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

  /** See `Lease.confirm`. */
  confirm(): boolean {
    if (this.#ended || this.#lost.signal.aborted) return false
    const isSilent = this.#isSilent()
    let renewal = this.#tryRenew('confirm')
    for (const start = this.#options.monotonic(); renewal === 'busy' && this.#options.monotonic() - start < CONFIRM_MS; ) {
      standStill(1)
      renewal = this.#tryRenew('confirm')
    }
    if (renewal === 'lost') this.#lose()
    if (renewal !== 'renewed') return false
    this.#lastBeat = this.#now()
    return !isSilent
  }

  #beatIn(pauseMs: number): void {
    this.#timer = setTimeout(() => this.#beat(), pauseMs).unref()
  }

  #beat(): void {
    const { ttlMs } = this.#options
    const renewal = this.#tryRenew('renew')
    if (renewal === 'renewed') {
      this.#lastBeat = this.#now()
      this.#beatIn(ttlMs / BEATS_PER_TTL)
    } else if (renewal === 'lost' || this.#isSilent()) this.#lose()
    else this.#beatIn(Math.min(ttlMs / 10, LONGEST_PAUSE_MS) * (0.5 + Math.random()))
  }

  /** Its time to live has passed since the last beat, awake or not. */
  #isSilent(): boolean {
    const { monotonic, sleepless } = this.#now()
    const silentMs = Math.max(monotonic - this.#lastBeat.monotonic, sleepless - this.#lastBeat.sleepless - SLEEPLESS_GRAIN_MS)
    return silentMs >= this.#options.ttlMs
  }

  #now(): Moment {
    const { monotonic, sleepless = uptimeMs } = this.#options
    return { monotonic: monotonic(), sleepless: sleepless() }
  }

  #lose(): void {
    clearTimeout(this.#timer)
    this.#onEnd()
    this.#ended ??= Promise.resolve() // what is lost is not ours to give back
    this.#lost.abort(
      new GatewayError('GW_LEASE_TIMEOUT', 'the lease was lost: this process was silent for too long', { next: 'try_again_later' }),
    )
  }

  /** A table that cannot be written is as good as a busy one: either it can be again in time, or the lease is lost. */
  #tryRenew(how: 'renew' | 'confirm'): Renewal {
    try {
      return this.#table[how](this.#profileId, this.#holder)
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

/** Holds the thread: what waits here must not give way to anything else. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function aborted(signal: AbortSignal): GatewayError {
  return new GatewayError('GW_ACQUIRE_ABORTED', 'the caller left while waiting for the lease', { next: 'nothing', cause: signal.reason })
}

function timedOut(waitMs: number, by: LeaseHolder | undefined): GatewayError {
  const who = by ? `process ${by.pid} on ${by.host.split(' ')[0]}` : 'another process'
  const message = `${who} has been refreshing this profile for longer than ${durationOf(waitMs)}; try again, or end that process if it hangs`
  return new GatewayError('GW_LEASE_TIMEOUT', message, { next: 'try_again_later', ...(by && { heldBy: by.pid }) })
}
