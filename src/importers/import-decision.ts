import type { Credential, StoredProfile } from '../domain/credential.ts'
import type { ImportOutcome } from '../domain/enums.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { profileName } from '../telemetry/profile-name.ts'

/** What is done with one profile, and why when it is left out. */
export interface ImportDecision {
  readonly outcome: ImportOutcome
  readonly why?: string
}

/** What an import may do. */
export interface ImportPermissions {
  /** Takes rotating refresh tokens over. @default false */
  takeOwnership?: boolean
  /** Puts it in the place of another credential. @default false */
  replace?: boolean
}

/**
 * Decides what to do with a profile of another application.
 *
 * Pure: seen again inside the exclusion of the store, the answer may be another one.
 *
 * @param current What is stored here under its id.
 * @param rotates Whether its refresh token is replaced at every refresh.
 */
export function decideImport(
  current: StoredProfile | undefined,
  next: StoredProfile,
  rotates: boolean,
  { takeOwnership = false, replace = false }: ImportPermissions,
): ImportDecision {
  if (current && isSame(current.credential, next.credential)) return { outcome: 'unchanged' }
  const objection = current && new KnownRefreshTokens([current]).objection(next)
  if (objection) return objection
  if (current && !replace)
    return { outcome: 'exists', why: 'another credential is stored here under this name; --replace puts this one in its place' }
  if (rotates && !takeOwnership)
    return { outcome: 'needs_owner', why: 'its refresh token rotates and must have one owner; --take-ownership makes that Gatewatch' }
  return { outcome: current ? 'replaced' : 'imported' }
}

/** Says whether a decision stores something. */
export function isStored({ outcome }: ImportDecision): boolean {
  return outcome === 'imported' || outcome === 'replaced'
}

/** The profile as it is stored. How it pays is not the source's to say, and replays of what was rotated away must still be known as such. */
export function inPlaceOf(current: StoredProfile | undefined, next: StoredProfile): StoredProfile {
  if (!current) return next
  const { billing, rotatedAway, heldBefore, rotatedAwayAt } = current
  return {
    ...next,
    ...(billing && { billing }),
    ...(rotatedAway && { rotatedAway }),
    ...(heldBefore && { heldBefore }),
    ...(rotatedAwayAt && { rotatedAwayAt }),
  }
}

/** Refresh tokens that are known here, by their fingerprints: none may be held twice, or brought back. */
export class KnownRefreshTokens {
  readonly #holders = new Map<Fingerprint, string>()
  readonly #gone = new Set<Fingerprint>()

  constructor(profiles: readonly StoredProfile[]) {
    for (const profile of profiles) this.add(profile)
  }

  add({ id, credential, rotatedAway = [] }: StoredProfile): void {
    const refresh = refreshFingerprint(credential)
    if (refresh !== undefined) this.#holders.set(refresh, id)
    for (const gone of rotatedAway) this.#gone.add(gone)
  }

  /** Why a profile may not come in, if so. */
  objection({ id, credential }: StoredProfile): ImportDecision | undefined {
    const refresh = refreshFingerprint(credential)
    if (refresh === undefined) return undefined
    // To send such a token once more would cost the login that is here.
    if (this.#gone.has(refresh))
      return { outcome: 'unusable', why: 'its refresh token was rotated away here: what is stored here is newer' }
    const holder = this.#holders.get(refresh)
    if (holder === undefined || holder === id) return undefined
    const why = `the same login is stored here as ${profileName(holder)}: two profiles with one refresh token lock each other out`
    return { outcome: 'exists', why }
  }
}

function refreshFingerprint(credential: Credential): Fingerprint | undefined {
  return credential.type === 'oauth' ? fingerprint(credential.refresh) : undefined
}

/** The same secrets; how often they were rotated, or when they expire, may be known better here. */
function isSame(one: Credential, other: Credential): boolean {
  switch (one.type) {
    case 'api_key':
      return other.type === 'api_key' && one.key === other.key
    case 'token':
      return other.type === 'token' && one.token === other.token
    case 'oauth':
      return other.type === 'oauth' && one.access === other.access && one.refresh === other.refresh
    default:
      return one satisfies never
  }
}
