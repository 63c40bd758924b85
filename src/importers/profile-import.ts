import type { CallerSite } from '../domain/caller-site.ts'
import type { Credential, StoredProfile } from '../domain/credential.ts'
import { IMPORT_OUTCOMES, type ImportOutcome, type ImportSource } from '../domain/enums.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import type { Provider } from '../providers/provider.ts'
import type { Registry } from '../providers/registry.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { OpenEvent, withinEvent } from '../telemetry/open-event.ts'
import { PLAIN_WORD, profileName } from '../telemetry/profile-name.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { readClaudeLogin, readCodexLogin, readGeminiLogin } from './application-logins.ts'
import type { FoundProfile, Reading, SourceLocation } from './found-profile.ts'
import { readOpenClaw } from './openclaw-store.ts'

/** What is done with one profile, and why when it is left out. */
interface ImportDecision {
  readonly outcome: ImportOutcome
  readonly why?: string
}

/** What an import may do. */
interface ImportPermissions {
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
function decideImport(
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
function isStored({ outcome }: ImportDecision): boolean {
  return outcome === 'imported' || outcome === 'replaced'
}

/** The profile to store. Billing and the fingerprints of rotated tokens are kept from the stored one: replays must still be recognised. */
function inPlaceOf(current: StoredProfile | undefined, next: StoredProfile): StoredProfile {
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
class KnownRefreshTokens {
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

/** What is imported from where, and what may be done. */
export interface ImportOptions extends ImportPermissions {
  source: ImportSource
  place: SourceLocation
  store: ProfileStore
  registry: Registry
  /** Imports only this profile: its id at the source, or its displayed name. @default all */
  only?: string
  /** Id it gets here; for one profile alone. @default its id at the source */
  renameTo?: string
  /** Says what would be done, and changes nothing. @default false */
  dryRun?: boolean
  /** Epoch milliseconds. @default now */
  now?: number
}

/** One profile of a source and what was done with it. */
export interface ImportedProfile {
  /** Id here. May carry an e-mail address. */
  readonly id: string
  readonly provider: string
  readonly outcome: ImportOutcome
  /** Absent where there is nothing to import. */
  readonly credential?: Credential
  /** Its refresh token is replaced at every refresh, and the process that holds the older one is locked out. */
  readonly rotates: boolean
  /** Why it was left out, and what its owner says about it. */
  readonly notes: readonly string[]
}

export interface ProfileImport {
  readonly source: ImportSource
  readonly dryRun: boolean
  readonly places: readonly string[]
  readonly profiles: readonly ImportedProfile[]
  /** Ids in the order in which the source tries them; empty where it has none. */
  readonly order: readonly string[]
  readonly notes: readonly string[]
}

const READERS: Readonly<Record<ImportSource, (place: SourceLocation, now: number) => Promise<Reading>>> = {
  openclaw: readOpenClaw,
  codex: readCodexLogin,
  claude: readClaudeLogin,
  gemini: readGeminiLogin,
}

/** Google lets a refresh token live on; every other provider that is known replaces it. */
const NOT_ROTATING: ReadonlySet<string> = new Set(['google'])
const UNKNOWN = 'unknown'
const PROFILE_ID = /^[a-z0-9][a-z0-9._-]*:\S+$/

/**
 * Takes over the logins of another application, which is only read: its files keep their bytes and times.
 *
 * Everything is read before the first profile is stored. A profile that is here already is left alone, and a
 * rotating refresh token is left where it is, unless the options say otherwise: two owners lock each other out.
 *
 * @throws {GatewayError} `GW_CONFIG` when there is nothing there, `GW_STORE_DAMAGED` and `GW_STORE_UNREADABLE` for the files
 *   of the source; or what the store throws.
 */
export async function importProfiles(options: ImportOptions): Promise<ProfileImport> {
  const { source, place, dryRun = false, now = Date.now() } = options
  const reading = chosen(await READERS[source](place, now), options)
  const profiles: ImportedProfile[] = []
  const known = new KnownRefreshTokens(await options.store.list())
  for (const found of reading.found) profiles.push(await take(found, known, options))
  for (const { id, provider, why } of reading.unusable)
    profiles.push({ id, provider: shown(provider), outcome: 'unusable', rotates: false, notes: [why] })
  return { source, dryRun, places: reading.places, profiles, order: reading.order, notes: reading.notes }
}

/** The profiles that are wanted, by the ids they get. */
function chosen(reading: Reading, { only, renameTo }: ImportOptions): Reading {
  const isWanted = ({ id }: { id: string }) => only === undefined || id === only || profileName(id) === only
  const found = reading.found.filter(isWanted)
  const unusable = reading.unusable.filter(isWanted)
  if (only !== undefined && found.length + unusable.length === 0) {
    const names = [...reading.found, ...reading.unusable].map(({ id }) => profileName(id))
    throw refused('GW_PROFILE_UNKNOWN', `no profile of that name is there to import; there are: ${names.join(', ') || 'none'}`)
  }
  if (renameTo === undefined) return { ...reading, found, unusable }
  const [first] = found
  if (found.length > 1 || !first) {
    const names = found.map(({ id }) => profileName(id)).join(', ')
    const message = `a new name is for one profile, and ${found.length} can be imported${names && `: ${names}; choose one with --profile`}`
    throw refused('GW_CONFIG', message)
  }
  if (!PROFILE_ID.test(renameTo) || !renameTo.startsWith(`${first.provider}:`))
    throw refused('GW_CONFIG', `the new name must begin with the provider: ${first.provider}:NAME`)
  return { ...reading, found: [{ ...first, id: renameTo }], unusable: [], order: [] }
}

async function take(found: FoundProfile, known: KnownRefreshTokens, options: ImportOptions): Promise<ImportedProfile> {
  const { store, registry, dryRun = false } = options
  const provider = registry.all().find(({ id }) => id === found.provider)
  if (!provider) {
    const name = shown(found.provider)
    const who = name === UNKNOWN ? 'its provider is none that is known here' : `no provider is called ${name} here`
    const why = `${who}: describe it under "providers" in the configuration, and import with --config`
    const notes = [why, ...found.notes]
    return { id: found.id, provider: name, outcome: 'unusable', credential: found.credential, rotates: false, notes }
  }
  const credential = withAccount(found.credential, provider)
  const rotates = credential.type === 'oauth' && credential.refresh !== undefined && !NOT_ROTATING.has(provider.id)
  const judged = { id: found.id, provider: provider.id, credential, rotates }
  const profile: StoredProfile = { id: found.id, provider: provider.id, credential }
  const decide = (current: StoredProfile | undefined) => decideImport(current, profile, rotates, options)
  let decision = known.objection(profile) ?? decide(await store.reload(found.id))
  if (!dryRun && isStored(decision)) {
    // Decided once more, inside the exclusion: a user may have signed in meanwhile.
    await store.change(found.id, latest => {
      decision = decide(latest)
      return isStored(decision) ? inPlaceOf(latest, profile) : latest
    })
  }
  const { outcome, why } = decision
  if (isStored(decision)) known.add(profile)
  return { ...judged, outcome, notes: why === undefined ? found.notes : [why, ...found.notes] }
}

/** What the token itself says of its account is what an answer of the token endpoint will be compared with. */
function withAccount(credential: Credential, provider: Provider): Credential {
  if (credential.type !== 'oauth') return credential
  const account = [credential.access, credential.idToken]
    .map(token => (token === undefined ? undefined : provider.accountOf(token)))
    .find(reported => reported !== undefined)
  return account === undefined ? credential : { ...credential, account }
}

/** A provider's id comes from a file of another application and may be anything. */
function shown(providerId: string): string {
  return PLAIN_WORD.test(providerId) ? providerId : UNKNOWN
}

function refused(code: 'GW_CONFIG' | 'GW_PROFILE_UNKNOWN', message: string): GatewayError {
  return new GatewayError(code, message, { next: 'fix_configuration' })
}

function countsOf(profiles: ProfileImport['profiles']): Record<ImportOutcome, number> {
  const countOf = (outcome: ImportOutcome) => profiles.filter(profile => profile.outcome === outcome).length
  return Object.fromEntries(IMPORT_OUTCOMES.map(outcome => [outcome, countOf(outcome)])) as Record<ImportOutcome, number>
}

/**
 * Imports as an event with its caller, its source and the profiles by outcome, of each provider too.
 *
 * @throws what `importProfiles` throws.
 */
export function recordImport(telemetry: Telemetry, caller: CallerSite, options: ImportOptions): Promise<ProfileImport> {
  const { source, dryRun = false } = options
  const event = new OpenEvent(telemetry, 'import', { importSource: source, dryRun }, { caller })
  return withinEvent(event, async () => {
    const imported = await importProfiles(options)
    const { profiles } = imported
    const providers = Object.entries(Object.groupBy(profiles, ({ provider }) => provider))
    event.set({
      importCounts: countsOf(profiles),
      importCountsByProvider: Object.fromEntries(providers.map(([provider, some = []]) => [provider, countsOf(some)])),
    })
    return imported
  })
}
