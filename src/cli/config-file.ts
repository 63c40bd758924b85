import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { configError, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { parseSettings, refused, type Settings } from '../settings/options.ts'
import { readNamedFile, readOwnFile, requireOwnFolder, stateFolderAt } from '../store/own-files.ts'
import { ProcessLock } from '../store/process-lock.ts'
import { systemCode, unreadable, unwritable } from '../store/store-failure.ts'
import { parseJsonObject } from '../tools/json-object.ts'

export const DEFAULT_CONFIG = 'gatewatch.json'

/** A configuration file that was read and checked. */
interface ConfigFile {
  readonly path: string
  /** The settings, with what commands set in the state folder. */
  readonly settings: Settings
  /** The settings as they are written in the file. */
  readonly written: Settings
  readonly stateSettings: StateSettings
  /** Absolute folder in which state is stored: `state` of the file, or a folder of ours in it (`stateFolderAt`). */
  readonly stateFolder: string
}

/** Longest file that is read, in bytes. */
const MOST_BYTES = 4 * 1024 * 1024

/**
 * Reads a configuration file.
 *
 * @throws {GatewayError} `GW_CONFIG` naming the file and, where it got that far, key, type and what is allowed.
 */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  let text: string
  try {
    text = await readNamedFile(path, MOST_BYTES)
  } catch (cause) {
    if (isGatewayError(cause)) throw configError(cause.message, cause)
    const why = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    throw configError(`${path}: cannot be read (${why})`, cause)
  }
  const written = parseSettings(parseJson(text, path), path)
  const stateFolder = stateFolderAt(resolve(dirname(path), written.state))
  const stateSettings = await readStateSettings(stateFolder)
  return { path, settings: withStateSettings(written, stateSettings), written, stateSettings, stateFolder }
}

function parseJson(text: string, path: string): unknown {
  try {
    // Editors on Windows write a byte order mark.
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    // The parser quotes the text around the fault; a line number says as much and quotes nothing.
    const position = Number(/position (\d+)/.exec(String(error))?.[1] ?? Number.NaN)
    const where = Number.isNaN(position) ? '' : ` near line ${text.slice(0, position).split('\n').length}`
    throw refused(path, [`is not JSON${where}`])
  }
}

/**
 * What commands set for the operator, stored beside the profiles of a state folder: a configuration file written by hand is never
 * rewritten, and its values take precedence. It holds names, no secrets.
 */
export interface StateSettings {
  readonly profiles: Settings['profiles']
  /** Profile ids in the order in which they are tried. */
  readonly order?: readonly string[]
}

const NOTHING: StateSettings = { profiles: {} }
const FORMAT = { format: 'gatewatch-settings', version: 1 } as const

/** Where they are. */
function stateSettingsFile(folder: string): string {
  return join(stateFolderAt(folder), 'settings.json')
}

/** Reads them; none are there before the first was set. @throws {GatewayError} `GW_CONFIG`, `GW_STORE_UNREADABLE` naming the file. */
export async function readStateSettings(folder: string): Promise<StateSettings> {
  const path = stateSettingsFile(folder)
  let text: string
  try {
    requireOwnFolder(dirname(path))
    text = await readOwnFile(path, MOST_BYTES)
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return NOTHING
    throw cause instanceof GatewayError ? cause : unreadable(path, cause)
  }
  const { format, version, ...settings } = parseJsonObject(text) ?? {}
  if (format !== FORMAT.format || version !== FORMAT.version) throw refused(path, ['is no settings file of this Gatewatch; move it away'])
  const foreign = Object.keys(settings).find(key => key !== 'profiles' && key !== 'order')
  if (foreign !== undefined) throw refused(path, ['holds more than profiles and order; the rest belongs into a configuration file'])
  const { profiles, order } = parseSettings(settings, path)
  return { profiles, ...(order && { order }) }
}

/**
 * Changes them, alone among all processes, atomically and durably.
 *
 * @param update Sees what is there; returning the same object writes nothing. What it throws leaves all as it was.
 */
export async function changeStateSettings(folder: string, update: (current: StateSettings) => StateSettings): Promise<StateSettings> {
  const place = stateFolderAt(folder)
  const lock = new ProcessLock(join(place, 'locks.sqlite'))
  try {
    await mkdir(place, { recursive: true, mode: 0o700 })
    return await lock.run(async () => {
      const current = await readStateSettings(folder)
      const next = update(current)
      if (next !== current) await write(stateSettingsFile(folder), next)
      return next
    })
  } finally {
    await lock.close()
  }
}

/** A configuration with what commands set: where both name a profile, or an order, the configuration's counts. */
export function withStateSettings(settings: Settings, state: StateSettings): Settings {
  const order = settings.order ?? state.order
  return { ...settings, profiles: { ...state.profiles, ...settings.profiles }, ...(order && { order: [...order] }) }
}

/** Without a profile, wherever it is named. */
export function withoutProfile(state: StateSettings, profileId: string): StateSettings {
  if (!Object.hasOwn(state.profiles, profileId) && !state.order?.includes(profileId)) return state
  const { [profileId]: _gone, ...profiles } = state.profiles
  const order = state.order?.filter(id => id !== profileId) ?? []
  return { profiles, ...(order.length > 0 && { order }) }
}

async function write(path: string, { profiles, order }: StateSettings): Promise<void> {
  const draft = `${path}.next`
  try {
    // What a process left behind that died while it wrote; `wx` neither follows a link nor keeps wider permissions.
    await rm(draft, { force: true })
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(`${JSON.stringify({ ...FORMAT, profiles, ...(order && { order }) }, undefined, 2)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
    const folder = await open(dirname(path), 'r')
    await folder.sync().catch(() => undefined) // not every file system can
    await folder.close()
  } catch (cause) {
    await rm(draft, { force: true })
    throw cause instanceof GatewayError ? cause : unwritable(path, cause)
  }
}
