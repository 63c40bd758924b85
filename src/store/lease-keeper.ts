import { createHash, randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as wait } from 'node:timers/promises'
import { durationOf } from '../domain/duration-text.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { uptimeMs } from '../tools/clock.ts'
import { isDead, type ProcessIdentity, thisProcess } from './process-identity.ts'
import { LockDatabase } from './process-lock.ts'
import type { Lease, LeaseOptions } from './profile-store.ts'
import { closed } from './store-failure.ts'

/** Who has a lease, as its row says. */
interface LeaseHolder extends ProcessIdentity {
  /** One lease of one caller; every lease has another. */
  readonly holder: string
  /** Counts renewals. No time is ever written down: clocks of two processes need not agree. */
  readonly beat: number
  /** How long silence is allowed, in ms. */
  readonly ttlMs: number
  /** 1 when the holder went on to what must not happen without the lease. */
  readonly confirmed: 0 | 1
}

/** What came of asking for a lease. */
type Claim =
  | { readonly kind: 'held'; readonly holder: string; readonly takenFrom?: LeaseHolder }
  /** `by` is absent when another process was changing the table at this very moment. */
  | { readonly kind: 'refused'; readonly by?: LeaseHolder }

/** What came of renewing a lease. `busy`: another process was changing the table, try again soon. */
type Renewal = 'renewed' | 'lost' | 'busy'

interface LeaseTableOptions {
  /** How long a holder may be silent before its lease may be taken, in ms. */
  ttlMs: number
  /** Milliseconds that never jump. */
  monotonic: () => number
}

/** A holder renews this often within its time to live. */
const BEATS_PER_TTL = 3

const CREATE = `CREATE TABLE IF NOT EXISTS leases (
  key TEXT PRIMARY KEY, holder TEXT NOT NULL, pid INTEGER NOT NULL, host TEXT NOT NULL, started TEXT NOT NULL,
  beat INTEGER NOT NULL, ttl_ms INTEGER NOT NULL, confirmed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID`
/** A table that an earlier version made has no such column; its rows say nothing about it. */
const HAS_CONFIRMED = "SELECT 1 FROM pragma_table_info('leases') WHERE name = 'confirmed'"
const ADD_CONFIRMED = 'ALTER TABLE leases ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0'
const FIND = 'SELECT holder, pid, host, started, beat, ttl_ms AS ttlMs, confirmed FROM leases WHERE key = ?'
const WRITE = 'INSERT OR REPLACE INTO leases (key, holder, pid, host, started, beat, ttl_ms) VALUES (?, ?, ?, ?, ?, 0, ?)'
const RENEW = 'UPDATE leases SET beat = beat + 1 WHERE key = ? AND holder = ?'
const CONFIRM = 'UPDATE leases SET beat = beat + 1, confirmed = 1 WHERE key = ? AND holder = ?'
const DELETE = 'DELETE FROM leases WHERE key = ? AND holder = ?'

/**
 * Leases as rows that processes share: one row a profile, its id hashed.
 *
 * Every method is one short transaction and returns at once. A row is taken over when its process is known to be dead,
 * or when we saw its beat stand still for its whole time to live, by our own monotonic clock.
 */
export class LeaseTable {
  readonly #database: LockDatabase
  readonly #ttlMs: number
  readonly #monotonic: () => number
  /** How long each lease was seen with the same beat; kept between calls, so that short waits add up. */
  readonly #seen = new Map<string, { holder: string; beat: number; silentMs: number; lookedAt: number }>()

  constructor(path: string, { ttlMs, monotonic }: LeaseTableOptions) {
    this.#database = new LockDatabase(path)
    this.#ttlMs = ttlMs
    this.#monotonic = monotonic
  }

  /** Asks once for the lease of a profile. @throws {GatewayError} as `LockDatabase.tryBegin` */
  claim(profileId: string): Claim {
    const key = keyOf(profileId)
    const claim = this.#inTransaction((connection): Claim => {
      const row = connection.prepare(FIND).get(key) as LeaseHolder | undefined
      if (row && !this.#mayTake(key, row)) return { kind: 'refused', by: row }
      const holder = randomUUID()
      const { pid, host, started } = thisProcess()
      connection.prepare(WRITE).run(key, holder, pid, host, started, this.#ttlMs)
      return { kind: 'held', holder, ...(row && { takenFrom: row }) }
    })
    if (claim?.kind === 'held') this.#seen.delete(key)
    return claim ?? { kind: 'refused' }
  }

  /** Says that the holder lives. @throws {GatewayError} as `LockDatabase.tryBegin` */
  renew(profileId: string, holder: string): Renewal {
    return this.#renewBy(RENEW, profileId, holder)
  }

  /** Renews, and writes down that the holder goes on to what must not happen without the lease. @throws as `renew` */
  confirm(profileId: string, holder: string): Renewal {
    return this.#renewBy(CONFIRM, profileId, holder)
  }

  /** Gives a lease back, if it is still the holder's. @returns false when it must be tried again. */
  release(profileId: string, holder: string): boolean {
    return this.#inTransaction(connection => connection.prepare(DELETE).run(keyOf(profileId), holder).changes) !== undefined
  }

  close(): void {
    this.#database.close()
  }

  #renewBy(update: string, profileId: string, holder: string): Renewal {
    const changes = this.#inTransaction(connection => connection.prepare(update).run(keyOf(profileId), holder).changes)
    return changes === undefined ? 'busy' : changes === 0 ? 'lost' : 'renewed'
  }

  #mayTake(key: string, row: LeaseHolder): boolean {
    if (isDead(row)) return true
    const now = this.#monotonic()
    const seen = this.#seen.get(key)
    if (seen?.holder !== row.holder || seen.beat !== row.beat) {
      this.#seen.set(key, { holder: row.holder, beat: row.beat, silentMs: 0, lookedAt: now })
      return false
    }
    // Time without a look counts for one beat at most: if the machine or process group was suspended, the holder was
    // suspended as well and resumes together with us.
    seen.silentMs += Math.min(now - seen.lookedAt, row.ttlMs / BEATS_PER_TTL)
    seen.lookedAt = now
    return seen.silentMs >= row.ttlMs
  }

  /** @returns What `work` returned, or `undefined` when another caller was in a transaction. */
  #inTransaction<T>(work: (connection: DatabaseSync) => T): T | undefined {
    return this.#database.inTransaction(connection => {
      connection.exec(CREATE)
      if (!connection.prepare(HAS_CONFIRMED).get()) connection.exec(ADD_CONFIRMED)
      return work(connection)
    })
  }
}

/** The profile's id as the table may show it: ids carry e-mail addresses. */
function keyOf(profileId: string): string {
  return createHash('sha256').update('gatewatch-lease-v1\0').update(profileId).digest('hex').slice(0, 32)
}

interface LeaseKeeperOptions {
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

  /** Releases the lease before its user is done, and notifies the user. */
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
