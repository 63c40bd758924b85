import type { StoredProfile } from '../domain/credential.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import type { RestStore } from './rest-store.ts'

/**
 * A lease on one profile: while it is held, no other process refreshes that profile.
 *
 * A lease prevents duplicate work; it is not what keeps data right. That is the store's `change`, which compares.
 */
export interface Lease {
  /** Milliseconds from asking to holding, monotonic. */
  readonly waitedMs: number
  /** Process id of the dead or silent holder it was taken from. */
  readonly takenFrom?: number
  /**
   * Says whether the process it was taken from had confirmed its lease, fell silent then, and is not known to be dead: it
   * may wake up and end what it began.
   */
  mayGoOn(): boolean
  /** Aborts when the lease was taken away: its holder was silent for too long. */
  readonly lost: AbortSignal
  /**
   * Says whether the lease is held at this very moment, and renews it. To be called right before what must not happen
   * without it: a process that was stopped or suspended learns here that its time is over, before any timer runs.
   *
   * Synchronous, so that nothing can come between the answer and what follows. A store whose table cannot be asked
   * without waiting compares its last renewal with a clock that goes on while the machine sleeps (`uptimeMs`).
   *
   * @returns false when it is lost, when it may be, and when its holder was silent for its whole time to live: what was
   *   read under it is old then, even where the lease itself can still be renewed. Never throws.
   */
  confirm(): boolean
  /** Gives it back. Never rejects; a lease that is lost is left alone. Not worth waiting for: `close` of the store waits. */
  release(): Promise<void>
}

/** A profile that is stored and cannot be read. */
export interface DamagedProfile {
  readonly id: string
  /** `GW_STORE_DAMAGED`, with the row and what is wrong in it. */
  readonly error: GatewayError
}

/** How long a caller waits for a lease. */
export interface LeaseOptions {
  /** Longest wait, in ms. */
  waitMs: number
  signal?: AbortSignal
}

/**
 * Where profiles live. One contract (test/contracts/profile-store.ts) holds for every store.
 *
 * All methods reject with `GatewayError`: `GW_STORE_UNREADABLE` (cannot be opened), `GW_STORE_DAMAGED` (opened, but not
 * ours or cut off), `GW_STORE_NEWER` (written by a later Gatewatch), `GW_STORE_UNWRITABLE` (disk full, read-only),
 * `GW_LEASE_TIMEOUT`, `GW_CLOSED`. Whatever fails, what was stored before is still there, byte for byte.
 */
export interface ProfileStore {
  /** What is stored of a profile; may answer from memory while the store is unchanged. */
  read(profileId: string): Promise<StoredProfile | undefined>
  /** As `read`, but always from the source of truth. */
  reload(profileId: string): Promise<StoredProfile | undefined>
  /** Every profile that can be read, in the order in which they came. */
  list(): Promise<readonly StoredProfile[]>
  /**
   * The profiles that `list` leaves out since what is stored of them is damaged. Everything else that concerns one of them
   * rejects with its error; a store without damage of single profiles has no such method.
   */
  damaged?(): Promise<readonly DamagedProfile[]>
  /**
   * Replaces what is stored of one profile, atomically and durably, under mutual exclusion with every other process.
   *
   * @param update Sees the current state and returns the next one; returning the same object writes nothing, returning
   *   `undefined` removes the profile. Must be pure: it may run more than once.
   * @returns What is stored now.
   */
  change(profileId: string, update: (current: StoredProfile | undefined) => StoredProfile | undefined): Promise<StoredProfile | undefined>
  /** Waits for the right to refresh one profile. */
  lease(profileId: string, options: LeaseOptions): Promise<Lease>
  /** Where rests of profiles are shared; a store without it leaves them to each process. */
  readonly rests?: RestStore
  /** Gives back what is held. Nothing works afterwards. */
  close(): Promise<void>
}
