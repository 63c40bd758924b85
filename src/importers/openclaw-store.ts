import { createDecipheriv, createHash } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { systemCode } from '../store/store-failure.ts'
import { profileName } from '../telemetry/profile-name.ts'
import { parseJsonObject } from '../tools/json-object.ts'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import {
  type CredentialReading,
  keyCredential,
  oauthCredential,
  type Reading,
  type SourceLocation,
  tokenCredential,
} from './found-profile.ts'
import {
  copySourceUnmodified,
  damagedSource,
  fieldsOf,
  isFolder,
  isThere,
  notFound,
  readSourceFields,
  readSourceUnmodified,
  type SourceFields,
  SourceParser,
  signatureOf,
  unreadableSource,
} from './source-file.ts'

/** The files in which an OpenClaw keeps its profiles; the first that names a profile counts. */
interface OpenClawPaths {
  /** SQLite stores and `auth-profiles.json`. */
  readonly stores: readonly string[]
  /** Folders that may hold the encrypted tokens of 2026.5. */
  readonly sidecarFolders: readonly string[]
  /** Agents in addition to the one that is read, by their folder. */
  readonly otherAgents: readonly string[]
}

const JSON_STORE = 'auth-profiles.json'
const AGENT_STORE = 'openclaw-agent.sqlite'
const SHARED_STORE = join('state', 'openclaw.sqlite')
/** The agent that is there from the start. */
const FIRST_AGENT = 'main'

/**
 * Finds the stores of an OpenClaw: a file, the folder of an agent, or a state folder (`OPENCLAW_STATE_DIR`, else
 * `~/.openclaw`), of which the agent `main` is read, before what all agents share.
 *
 * @throws {GatewayError} `GW_CONFIG` when there is none.
 */
async function openClawPaths({ path, environment, home }: SourceLocation): Promise<OpenClawPaths> {
  const given = resolve(path ?? (environment.OPENCLAW_STATE_DIR || join(home, '.openclaw')))
  if (!(await isFolder(given))) {
    if (!(await isThere(given))) throw nothingAt(given)
    return { stores: [given], sidecarFolders: sidecarFolders(stateAbove(given), environment), otherAgents: [] }
  }
  const ofAgent = await storesOfAgent(given)
  if (ofAgent.length > 0)
    return { stores: ofAgent, sidecarFolders: sidecarFolders(dirname(dirname(dirname(given))), environment), otherAgents: [] }

  const agents = await agentsOf(given)
  const first = agents.find(folder => basename(dirname(folder)) === FIRST_AGENT) ?? agents[0]
  const shared = join(given, SHARED_STORE)
  const stores = [...(first === undefined ? [] : await storesOfAgent(first)), ...((await isThere(shared)) ? [shared] : [])]
  if (stores.length === 0) throw nothingAt(given)
  return { stores, sidecarFolders: sidecarFolders(given, environment), otherAgents: agents.filter(folder => folder !== first) }
}

/** SQLite before JSON: a version that has the one has moved the profiles out of the other. */
async function storesOfAgent(folder: string): Promise<string[]> {
  const paths = [AGENT_STORE, JSON_STORE].map(name => join(folder, name))
  const there = await Promise.all(paths.map(isThere))
  return paths.filter((_path, index) => there[index])
}

async function agentsOf(state: string): Promise<string[]> {
  const names = await readdir(join(state, 'agents')).catch((): string[] => [])
  const folders: string[] = []
  for (const name of names.sort()) {
    const folder = join(state, 'agents', name, 'agent')
    if ((await storesOfAgent(folder)).length > 0) folders.push(folder)
  }
  return folders
}

/** A store is stored in `agents/<agent>/agent/` of the state folder, the shared one in `state/`. */
function stateAbove(file: string): string {
  const folder = dirname(file)
  return file.endsWith(SHARED_STORE) ? dirname(folder) : dirname(dirname(dirname(folder)))
}

function sidecarFolders(state: string, { OPENCLAW_OAUTH_DIR: given }: SourceLocation['environment']): string[] {
  return [...(given ? [given] : []), join(state, 'credentials')].map(folder => join(folder, 'auth-profiles'))
}

function nothingAt(path: string) {
  return notFound(path, `name the state folder of OpenClaw, the folder of an agent, or its ${JSON_STORE} or ${AGENT_STORE} with --path`)
}

/** The two JSON documents that a SQLite store of OpenClaw holds. */
interface OpenClawDocuments {
  /** What `auth-profiles.json` was before. */
  readonly profiles: string | undefined
  /** What `auth-state.json` was before. */
  readonly state: string | undefined
}

/** Where the documents lie: in tables of their own (agent), or among others (shared store). */
const DOCUMENTS = {
  profiles: [
    { table: 'auth_profile_store', query: "SELECT store_json AS json FROM auth_profile_store ORDER BY store_key = 'primary' DESC LIMIT 1" },
    {
      table: 'config_machine_state',
      query: "SELECT value_json AS json FROM config_machine_state WHERE state_key = 'authProfiles.store'",
    },
  ],
  state: [
    { table: 'auth_profile_state', query: "SELECT state_json AS json FROM auth_profile_state ORDER BY state_key = 'primary' DESC LIMIT 1" },
    {
      table: 'config_machine_state',
      query: "SELECT value_json AS json FROM config_machine_state WHERE state_key = 'authProfiles.state'",
    },
  ],
} as const

/** The file and what SQLite writes beside it and has not moved into it yet. */
const PARTS = ['', '-wal', '-journal'] as const
const TRIES = 5

/**
 * Reads the SQLite store of an OpenClaw that may be running.
 *
 * Even a reader of SQLite locks the file and puts others beside it, so a copy is read: in a folder of mode 0700 that is
 * removed before this returns.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`; `GW_STORE_DAMAGED` when it is no database, or not one of OpenClaw's.
 */
async function readOpenClawDatabase(path: string): Promise<OpenClawDocuments> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-import-')).catch(cause => {
    throw unreadableSource(tmpdir(), cause)
  })
  try {
    const copy = join(folder, 'copy.sqlite')
    await copyWhole(path, copy)
    return readCopy(path, copy)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Copies until nothing was written in between: parts of two moments do not fit together. */
async function copyWhole(path: string, copy: string): Promise<void> {
  for (let tries = 1; tries <= TRIES; tries += 1) {
    const before = await stateOf(path)
    for (const part of PARTS) {
      await rm(copy + part, { force: true })
      if (await signatureOf(path + part)) await copyPart(path + part, copy + part)
    }
    if (before === (await stateOf(path))) return
  }
  throw damagedSource(path, 'is written all the time, so that no whole state of it could be read; stop OpenClaw and try again')
}

/** What SQLite writes beside a file may be gone a moment later; the next try sees it gone. */
async function copyPart(path: string, copy: string): Promise<void> {
  try {
    await copySourceUnmodified(path, copy)
  } catch (error) {
    if (await signatureOf(path)) throw error
  }
}

async function stateOf(path: string): Promise<string> {
  return (await Promise.all(PARTS.map(part => signatureOf(path + part)))).join(' ')
}

function readCopy(path: string, copy: string): OpenClawDocuments {
  const { DatabaseSync } = quietSqlite()
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(copy)
    const tables = new Set(
      database
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
        .all()
        .map(({ name }) => name),
    )
    if (!Object.values(DOCUMENTS).some(places => places.some(({ table }) => tables.has(table))))
      throw damagedSource(path, 'has none of the tables in which OpenClaw keeps profiles (auth_profile_store, config_machine_state)')
    return { profiles: documentOf(path, database, tables, 'profiles'), state: documentOf(path, database, tables, 'state') }
  } catch (cause) {
    if (systemCode(cause).startsWith('GW_')) throw cause
    throw damagedSource(path, 'is no SQLite database, is damaged, or has tables of another form than OpenClaw 2026.9', cause)
  } finally {
    database?.close()
  }
}

function documentOf(
  path: string,
  database: DatabaseSync,
  tables: ReadonlySet<unknown>,
  document: keyof typeof DOCUMENTS,
): string | undefined {
  for (const { table, query } of DOCUMENTS[document]) {
    const row = tables.has(table) ? database.prepare(query).get() : undefined
    if (!row) continue
    if (typeof row.json === 'string') return row.json
    throw damagedSource(path, `table ${table}: a row is no text; allowed is JSON text`)
  }
  return undefined
}

/** The tokens that OpenClaw 2026.5 kept apart from their profile, or why they cannot be had. */
type SidecarReading = { readonly tokens: SourceFields; readonly path: string } | { readonly tokens?: undefined; readonly why: string }

/** What a profile says of its sidecar, and where to look. */
interface SidecarSearch {
  readonly profileId: string
  readonly provider: string
  /** `oauthRef` of the profile. */
  readonly reference: SourceFields
  readonly folders: readonly string[]
  readonly place: SourceLocation
}

const KEY_VARIABLE = 'OPENCLAW_AUTH_PROFILE_SECRET_KEY'
const KEY_FILE = 'auth-profile-secret-key'
const ALGORITHM = 'aes-256-gcm'
const TAG_BYTES = 16

/**
 * Reads the encrypted sidecar of a profile. What cannot be decrypted is reported as that: OpenClaw went on with a profile
 * without tokens and posted `refresh_token=undefined` (openclaw#82069).
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED` for a file that is no JSON or has members of other types.
 */
async function readSidecar(search: SidecarSearch): Promise<SidecarReading> {
  const id = search.reference.text('id') ?? ''
  // It becomes a file name.
  if (!/^[a-f0-9]{32}$/.test(id)) return { why: 'its tokens lie in a file of their own, and "oauthRef.id" does not name one' }
  const path = await firstThere(search.folders.map(folder => join(folder, `${id}.json`)))
  if (path === undefined)
    return { why: `its tokens lie in an encrypted file that is not there: ${id}.json in ${search.folders.join(' or ')}` }
  const fields = await readSourceFields(path)
  if (fields.text('profileId') !== search.profileId || fields.text('provider') !== search.provider)
    return { why: `its encrypted tokens in ${path} belong to another profile` }
  const encrypted = fields.object('encrypted')
  if (!encrypted) return { tokens: fields, path }
  if (encrypted.text('algorithm') !== ALGORITHM) return { why: `its tokens in ${path} are encrypted in a way that is not known` }

  const seeds = await seedsOf(search.place)
  if (seeds.length === 0) return { why: `its tokens in ${path} are encrypted, and there is no key: ${keyAdvice()}` }
  for (const seed of seeds) {
    const text = decrypt(encrypted, seed, `${id}\0${search.profileId}\0${search.provider}`)
    if (text !== undefined) return { tokens: fieldsOf(path, text, 'what was encrypted'), path }
  }
  return { why: `its tokens in ${path} cannot be decrypted: the key is another one, or the file is damaged; ${keyAdvice()}` }
}

/** @returns `undefined` when the key does not fit, or the text was changed: GCM does not show which. */
function decrypt(encrypted: SourceFields, seed: string, associated: string): string | undefined {
  const [iv, tag, ciphertext] = ['iv', 'tag', 'ciphertext'].map(key => Buffer.from(encrypted.text(key) ?? '', 'base64url'))
  if (!iv?.length || tag?.length !== TAG_BYTES || !ciphertext?.length) return undefined
  const key = createHash('sha256').update(`openclaw:auth-profile-oauth:${seed}`).digest()
  try {
    const decipher = createDecipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(associated)).setAuthTag(tag)
    const text = Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8')
    return parseJsonObject(text) ? text : undefined
  } catch {
    return undefined
  }
}

/** Keys in the order in which OpenClaw tries them. The keychain of macOS is not asked: it would ask its user. */
async function seedsOf({ environment, home }: SourceLocation): Promise<string[]> {
  const seeds = [environment[KEY_VARIABLE] ?? '']
  for (const path of keyFiles(environment, home)) if (await isThere(path)) seeds.push(await readSourceUnmodified(path))
  const trimmed = [...new Set(seeds.map(seed => seed.trim()))].filter(seed => seed !== '')
  for (const seed of trimmed) registerSecret(seed)
  return trimmed
}

function keyFiles({ XDG_CONFIG_HOME, APPDATA }: SourceLocation['environment'], home: string): string[] {
  const folders = {
    win32: join(APPDATA || join(home, 'AppData', 'Roaming'), 'OpenClaw'),
    darwin: join(home, 'Library', 'Application Support', 'OpenClaw'),
  } as Partial<Record<NodeJS.Platform, string>>
  const folder = folders[process.platform] ?? join(XDG_CONFIG_HOME || join(home, '.config'), 'openclaw')
  return [join(folder, KEY_FILE), join(home, '.openclaw-auth-profile-secrets', KEY_FILE)]
}

function keyAdvice(): string {
  const keychain = process.platform === 'darwin' ? ' (on macOS it may lie in the keychain as "OpenClaw Auth Profile Secrets")' : ''
  return `put the key that OpenClaw has into ${KEY_VARIABLE}${keychain}, or sign in again with gatewatch profiles login`
}

async function firstThere(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await isThere(path)) return path
  return undefined
}

/** Names of environment variables that OpenClaw lets a reference name. */
const VARIABLE = /^[A-Z][A-Z0-9_]{0,127}$/

/** What a profile of OpenClaw is called here. */
interface OpenClawName {
  readonly id: string
  readonly provider: string
}

/**
 * The provider and id of a profile here. Since 2026.6 OpenClaw calls ChatGPT logins `openai`; they are still another
 * provider than the API: they go to the ChatGPT backend and are paid by subscription.
 */
function nameOf(id: string, provider: string, type: string): OpenClawName {
  const providerHere = provider === 'openai' && type === 'oauth' ? 'openai-codex' : provider
  return { id: providerHere === 'openai-codex' ? id.replace(/^openai:/, 'openai-codex:') : id, provider: providerHere }
}

/**
 * Reads one credential of OpenClaw.
 *
 * @param sidecar What is in the encrypted file, for a profile that refers to one.
 */
function readOpenClawCredential(fields: SourceFields, sidecar: SidecarReading | undefined, now: number): CredentialReading {
  const type = fields.text('type')
  switch (type) {
    case 'api_key':
      return referred(fields, 'key', keyCredential)
    case 'token':
      return referred(fields, 'token', token => tokenCredential(token, fields.moment('expires'), now))
    case 'oauth':
      return sidecar && sidecar.tokens === undefined ? sidecar : oauthOf(fields, sidecar?.tokens ?? fields, now)
    default:
      return { why: 'its "type" is none of "api_key", "token" and "oauth"' }
  }
}

function oauthOf(fields: SourceFields, tokens: SourceFields, now: number): CredentialReading {
  const parts = {
    access: tokens.text('access'),
    refresh: tokens.text('refresh'),
    idToken: tokens.text('idToken'),
    expiresAt: fields.moment('expires'),
    account: fields.text('accountId'),
  }
  return oauthCredential(parts, now)
}

/** A secret that stands in the profile, or that the profile only refers to. */
function referred(fields: SourceFields, key: 'key' | 'token', make: (secret: string | undefined) => CredentialReading): CredentialReading {
  const secret = fields.text(key)
  const reference = secret === undefined ? fields.object(`${key}Ref`) : undefined
  if (!reference) return make(secret)
  const variable = reference.text('id') ?? ''
  if (reference.text('source') !== 'env' || !VARIABLE.test(variable))
    return { why: `its ${key} is not stored but referred to ("${key}Ref"): look it up there and add it with gatewatch profiles add` }
  return {
    why: `its ${key} is not stored: OpenClaw reads it from ${variable}; add it with gatewatch profiles add --api-key-env ${variable}`,
  }
}

const STATE_FILE = 'auth-state.json'
/** The words of OpenClaw for why it does not use a profile. */
const REASON = /^[a-z_]{1,40}$/

/** One store, parsed. */
interface Store {
  readonly path: string
  readonly profiles: SourceFields
  /** Order and health; older versions keep both beside the profiles. */
  readonly state: SourceFields
}

/**
 * Reads the profiles of an OpenClaw: `auth-profiles.json` with `auth-state.json`, tokens in the encrypted sidecars of
 * 2026.5, the SQLite stores of 2026.9.
 *
 * @throws {GatewayError} `GW_CONFIG` when there is none, `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`.
 */
export async function readOpenClaw(place: SourceLocation, now: number): Promise<Reading> {
  const { stores, sidecarFolders, otherAgents } = await openClawPaths(place)
  const reading = new SourceParser()
  const moved = new Set<string>()
  for (const path of stores) {
    if (moved.has(dirname(path))) {
      reading.note(`${path} is what the profiles were moved from, and was not read.`)
      continue
    }
    const store = path.endsWith('.sqlite') ? await readDatabaseStore(path) : await readFileStore(path)
    if (!store) continue
    reading.addPlace(path)
    moved.add(dirname(path))
    await readProfiles(store, sidecarFolders, { place, now, reading })
  }
  if (otherAgents.length > 0)
    reading.note(`Other agents have profiles of their own, which were not read; name one with --path: ${otherAgents.join(', ')}.`)
  return reading.done()
}

async function readFileStore(path: string): Promise<Store> {
  const profiles = await readSourceFields(path)
  const statePath = join(dirname(path), STATE_FILE)
  return { path, profiles, state: (await isThere(statePath)) ? await readSourceFields(statePath) : profiles }
}

/** @returns `undefined` for a database that holds no profiles: those of an agent may all be shared. */
async function readDatabaseStore(path: string): Promise<Store | undefined> {
  const documents = await readOpenClawDatabase(path)
  if (documents.profiles === undefined) return undefined
  const profiles = fieldsOf(path, documents.profiles, 'its profiles: what is stored')
  const state = documents.state === undefined ? profiles : fieldsOf(path, documents.state, 'its state: what is stored')
  return { path, profiles, state }
}

async function readProfiles(
  { path, profiles, state }: Store,
  folders: readonly string[],
  { place, now, reading }: { place: SourceLocation; now: number; reading: SourceParser },
): Promise<void> {
  const all = profiles.object('profiles')
  if (!all) throw damagedSource(path, lacksProfiles(profiles))
  const usage = state.object('usageStats')
  const names = new Map<string, string>()
  for (const sourceId of all.keys()) {
    const shown = profileName(sourceId)
    const fields = all.object(sourceId, shown)
    const provider = fields?.text('provider')
    if (!fields || !provider) throw damagedSource(path, `profiles.${shown}.provider is missing; allowed is a string`)
    const { id, provider: providerHere } = nameOf(sourceId, provider, fields.text('type') ?? '')
    names.set(sourceId, id)
    if (reading.has(id)) continue
    const reference = fields.object('oauthRef')
    const sidecar = reference && (await readSidecar({ profileId: sourceId, provider, reference, folders, place }))
    const restNote = noteOf(usage?.object(sourceId, shown), now)
    reading.add(id, providerHere, readOpenClawCredential(fields, sidecar, now), restNote === undefined ? [] : [restNote])
  }
  const order = state.object('order')
  const ordered = order?.keys().flatMap(provider => order.texts(provider)) ?? []
  reading.setOrder(ordered.map(id => names.get(id) ?? id))
}

function lacksProfiles(fields: SourceFields): string {
  return fields.keys().includes('encrypted')
    ? 'is encrypted as a whole, in a form that is not known; sign in again with gatewatch profiles login'
    : '"profiles" is missing; allowed is an object of profiles'
}

function noteOf(usage: SourceFields | undefined, now: number): string | undefined {
  for (const [until, reason] of [
    ['disabledUntil', 'disabledReason'],
    ['blockedUntil', 'blockedReason'],
    ['cooldownUntil', 'cooldownReason'],
  ] as const) {
    const moment = usage?.moment(until)
    if (moment === undefined || moment <= now) continue
    const why = usage?.text(reason) ?? ''
    return `OpenClaw does not use it until ${new Date(moment).toISOString()}${REASON.test(why) ? ` (${why})` : ''}`
  }
  return undefined
}
