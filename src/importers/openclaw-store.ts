import { dirname, join } from 'node:path'
import { profileName } from '../telemetry/profile-name.ts'
import type { Reading, SourceLocation } from './found-profile.ts'
import { readOpenClawDatabase } from './openclaw-database.ts'
import { openClawPaths } from './openclaw-paths.ts'
import { nameOf, readOpenClawCredential } from './openclaw-profile.ts'
import { readSidecar } from './openclaw-sidecar.ts'
import { SourceParser } from './parse-source.ts'
import { damagedSource } from './source-failure.ts'
import { fieldsOf, readSourceFields, type SourceFields } from './source-fields.ts'
import { isThere } from './source-file.ts'

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
