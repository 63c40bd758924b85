import * as v from 'valibot'
import { REST_CAUSES, type Rest, type RestCause } from '../domain/cooldown.ts'
import type { StoredProfile } from '../domain/credential.ts'
import { ATTEMPT_OUTCOMES, BILLINGS } from '../domain/enums.ts'
import type { GatewayError } from '../domain/gateway-error.ts'

const credential = v.variant('type', [
  v.looseObject({ type: v.literal('api_key'), key: v.string() }),
  v.looseObject({ type: v.literal('token'), token: v.string(), expiresAt: v.exactOptional(v.number()) }),
  v.looseObject({
    type: v.literal('oauth'),
    access: v.exactOptional(v.string()),
    refresh: v.exactOptional(v.string()),
    expiresAt: v.exactOptional(v.number()),
    issuedAt: v.exactOptional(v.number()),
    account: v.exactOptional(v.string()),
    idToken: v.exactOptional(v.string()),
    scope: v.exactOptional(v.string()),
    generation: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  }),
])

/** Unknown keys are let through and kept: a later Gatewatch of the same format version may have written them. */
const storedProfile: v.GenericSchema<unknown, StoredProfile> = v.looseObject({
  id: v.pipe(v.string(), v.nonEmpty()),
  provider: v.pipe(v.string(), v.nonEmpty()),
  billing: v.exactOptional(v.picklist(BILLINGS)),
  credential,
  pending: v.exactOptional(v.looseObject({ refreshFingerprint: v.string(), sentAt: v.number(), pid: v.number() })),
  needsLogin: v.exactOptional(
    v.looseObject({
      refreshFingerprint: v.exactOptional(v.string()),
      outcome: v.string(),
      since: v.number(),
      providerCode: v.exactOptional(v.string()),
    }),
  ),
  rotatedAway: v.exactOptional(v.array(v.string())),
  heldBefore: v.exactOptional(v.array(v.string())),
  rotatedAwayAt: v.exactOptional(v.array(v.number())),
})

/**
 * Looks for the first thing in `value` that a stored profile named `profileId` may not have.
 *
 * @returns The place, as a path of key names (`credential.expiresAt`), never a value; `undefined` when all is well.
 */
export function wrongPlace(profileId: string, value: unknown): string | undefined {
  const { success, issues } = v.safeParse(storedProfile, value)
  if (!success) return v.getDotPath(issues[0]) ?? 'the profile itself'
  return (value as StoredProfile).id === profileId ? undefined : 'id'
}

/**
 * Checks, copies and freezes what an update returned, so that the caller cannot change it afterwards.
 *
 * @throws {TypeError} if it could not be read back: a wrong type, `NaN`, another profile's id.
 */
export function acceptProfile(profileId: string, profile: StoredProfile): StoredProfile {
  const copy: unknown = JSON.parse(JSON.stringify(profile))
  const place = wrongPlace(profileId, copy)
  if (place) throw new TypeError(`the update returned a profile that cannot be stored: ${place} is missing or of the wrong type`)
  return freeze(copy as StoredProfile)
}

/** Freezes a profile and all it holds. */
export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}

/** One rest of a profile, as the processes of a state folder share it. */
export interface StoredRest extends Rest {
  readonly profileId: string
  readonly cause: RestCause
  /** The one model that rests; absent where the profile rests for all. */
  readonly model?: string | undefined
}

/**
 * Where rests are shared. They survive the process, and are worth no flush to the disk: one that is lost costs a request
 * that is refused.
 *
 * All methods reject with `GatewayError` as those of `ProfileStore`.
 */
export interface RestStore {
  /**
   * Every rest, those that are over included.
   *
   * @param seen What the last look gave back.
   * @returns `undefined` where nothing changed since, or another process is changing something just now.
   */
  changed(seen: string | undefined): Promise<{ readonly seen: string; readonly rests: readonly StoredRest[] } | undefined>
  /**
   * Replaces the rests of one profile, under mutual exclusion with every other process.
   *
   * @param update Sees those that are there and returns the next ones; returning the same list writes nothing. Must be pure:
   *   it may run more than once.
   * @returns What is stored now.
   */
  change(profileId: string, update: (current: readonly StoredRest[]) => readonly StoredRest[]): Promise<readonly StoredRest[]>
}

const text = v.optional(v.string())
const REST = v.object({
  profileId: v.string(),
  cause: v.picklist(REST_CAUSES),
  model: text,
  since: v.number(),
  until: v.number(),
  because: v.picklist(ATTEMPT_OUTCOMES),
  isPromised: v.boolean(),
  consecutiveFailures: v.pipe(v.number(), v.integer(), v.minValue(1)),
  credential: v.object({ bearer: text, generation: v.optional(v.number()), refresh: text, account: text }),
  answer: v.optional(v.object({ status: v.optional(v.number()), type: text, code: text })),
})

/** Reads a rest that some process wrote; `undefined` for what is none, which then rests nothing. */
export function readStoredRest(json: string): StoredRest | undefined {
  try {
    const { success, output } = v.safeParse(REST, JSON.parse(json))
    return success ? (output as StoredRest) : undefined
  } catch {
    return undefined
  }
}

/** Shares rests within one process. */
export function memoryRests(): RestStore {
  const rests = new Map<string, readonly StoredRest[]>()
  let changes = 0
  return {
    async changed(seen) {
      return seen === String(changes) ? undefined : { seen: String(changes), rests: [...rests.values()].flat() }
    },
    async change(profileId, update) {
      const current = rests.get(profileId) ?? []
      const next = update(current)
      if (next === current) return current
      changes += 1
      if (next.length > 0) rests.set(profileId, next)
      else rests.delete(profileId)
      return next
    },
  }
}

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
