import type { Credential, StoredProfile } from '../domain/credential.ts'
import type { ImportOutcome, ImportSource } from '../domain/enums.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import type { Provider } from '../providers/provider.ts'
import type { Registry } from '../providers/registry.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { PLAIN_WORD, profileName } from '../telemetry/profile-name.ts'
import { readClaudeLogin } from './claude-login.ts'
import { readCodexLogin } from './codex-login.ts'
import type { FoundProfile, Reading, SourceLocation } from './found-profile.ts'
import { readGeminiLogin } from './gemini-login.ts'
import { decideImport, type ImportPermissions, inPlaceOf, isStored, KnownRefreshTokens } from './import-decision.ts'
import { readOpenClaw } from './openclaw-store.ts'

/** What is imported from where, and what may be done. */
export interface ImportOptions extends ImportPermissions {
  source: ImportSource
  place: SourceLocation
  store: ProfileStore
  registry: Registry
  /** Takes this profile alone: its id at the source, or its name as it is shown. @default all */
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
