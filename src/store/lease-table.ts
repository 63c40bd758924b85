import { createHash, randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { LockDatabase } from './lock-database.ts'
import { isDead, type ProcessIdentity, thisProcess } from './process-identity.ts'

/** Who has a lease, as its row says. */
export interface LeaseHolder extends ProcessIdentity {
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
export type Claim =
  | { readonly kind: 'held'; readonly holder: string; readonly takenFrom?: LeaseHolder }
  /** `by` is absent when another process was changing the table at this very moment. */
  | { readonly kind: 'refused'; readonly by?: LeaseHolder }

/** What came of renewing a lease. `busy`: another process was changing the table, try again soon. */
export type Renewal = 'renewed' | 'lost' | 'busy'

export interface LeaseTableOptions {
  /** How long a holder may be silent before its lease may be taken, in ms. */
  ttlMs: number
  /** Milliseconds that never jump. */
  monotonic: () => number
}

/** A holder renews this often within its time to live. */
export const BEATS_PER_TTL = 3

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
    // Time in which nobody looked counts for one beat at most: when a whole machine or process group was stopped,
    // the holder was as silent as we were, and wakes up together with us.
    seen.silentMs += Math.min(now - seen.lookedAt, row.ttlMs / BEATS_PER_TTL)
    seen.lookedAt = now
    return seen.silentMs >= row.ttlMs
  }

  /** @returns What `work` returned, or `undefined` when another caller was in a transaction. */
  #inTransaction<T>(work: (connection: DatabaseSync) => T): T | undefined {
    const connection = this.#database.tryBegin()
    if (!connection) return undefined
    let result: T
    try {
      connection.exec(CREATE)
      if (!connection.prepare(HAS_CONFIRMED).get()) connection.exec(ADD_CONFIRMED)
      result = work(connection)
    } catch (cause) {
      this.#database.undo(connection)
      throw this.#database.failure(cause)
    }
    return this.#database.tryCommit(connection) ? result : undefined
  }
}

/** The profile's id as the table may show it: ids carry e-mail addresses. */
function keyOf(profileId: string): string {
  return createHash('sha256').update('gatewatch-lease-v1\0').update(profileId).digest('hex').slice(0, 32)
}
