import * as v from 'valibot'
import { REST_CAUSES, type Rest, type RestCause } from '../domain/cooldown.ts'
import { ATTEMPT_OUTCOMES } from '../domain/enums.ts'

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
