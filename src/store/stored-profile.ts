import * as v from 'valibot'
import type { StoredProfile } from '../domain/credential.ts'
import { BILLINGS } from '../domain/enums.ts'

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
 * Takes over what an update wants stored: checked, copied and frozen, so that nobody changes it from outside.
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
