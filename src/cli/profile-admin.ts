import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { startSdk } from '../../otel/sdk/sdk.ts'
import { type CallerSite, clientCaller } from '../domain/caller-site.ts'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { EventStore } from '../events/event-store.ts'
import type { Registry } from '../providers/registry.ts'
import { readRegistry } from '../settings/load-settings.ts'
import { configuredNames, parseSettings, type Settings } from '../settings/options.ts'
import { fileStore } from '../store/file-store.ts'
import { stateFolderAt } from '../store/own-files.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { Telemetry } from '../telemetry/telemetry.ts'
import { runSteps } from '../tools/run-guarded.ts'
import { DEFAULT_CONFIG, readConfigFile, readStateSettings, type StateSettings, withStateSettings } from './config-file.ts'
import type { Output } from './output.ts'

/** Where profiles are, as given to a command. */
export interface PlaceOptions {
  /** Configuration file. @default gatewatch.json here, if there is one */
  config?: string
  /** State folder, without a configuration. */
  state?: string
}

/** Where profiles are. */
interface ProfilePlace {
  /** What the settings were read from, for messages. */
  readonly source: string
  readonly stateFolder: string
  /** The configuration with what commands set. */
  readonly settings: Settings
  /** The configuration file alone; absent without one. */
  readonly written?: Settings
  readonly stateSettings: StateSettings
}

/** What a command needs to add, change or remove profiles. */
export interface ProfileAdmin extends ProfilePlace {
  readonly store: ProfileStore
  readonly registry: Registry
  readonly telemetry: Telemetry
  /** The command, as telemetry names it. */
  readonly caller: CallerSite
}

/** What to do about a profile that the order leaves out; nothing where there is no order, or it is named. */
export function adviceOnOrder({ settings, written, source, telemetry }: ProfileAdmin, id: string): string | undefined {
  if (!settings.order || settings.order.includes(id)) return undefined
  const name = telemetry.profile(id)
  // A file that was written by hand is not rewritten, so the command would refuse.
  const how = written?.order ? `add ${name} to "order" in ${source}` : `gatewatch profiles order ... ${name}`
  return `The order does not name it, so that no call will use it: ${how}`
}

/** Resolves where profiles are stored. @throws {GatewayError} `GW_CONFIG` when no place is given, or the configuration cannot be used. */
export async function profilePlace({ config, state }: PlaceOptions): Promise<ProfilePlace> {
  if (config !== undefined && state !== undefined) throw configError('--config names a state folder already: leave --state out')
  if (state !== undefined) {
    const stateFolder = stateFolderAt(resolve(state))
    const stateSettings = await readStateSettings(stateFolder)
    const settings = withStateSettings(parseSettings({}, 'options'), stateSettings)
    return { source: stateFolder, stateFolder, settings, stateSettings }
  }
  if (config === undefined && !existsSync(DEFAULT_CONFIG))
    throw configError(`say where the profiles are, with --config FILE or --state FOLDER (there is no ${DEFAULT_CONFIG} here)`)
  const { path, settings, written, stateFolder, stateSettings } = await readConfigFile(config ?? DEFAULT_CONFIG)
  return { source: path, stateFolder, settings, written, stateSettings }
}

/**
 * Runs a command's work at the place it was given, with telemetry into the event store of its state folder, and over OTLP where
 * an `OTEL_*` variable names an endpoint.
 *
 * @param command What the command is called, `profiles login`.
 * @param asksProvider It speaks with a provider, so that client secrets must be there. @default false
 */
export async function withProfileAdmin<T>(
  options: PlaceOptions,
  { command, output, asksProvider = false }: { command: string; output: Output; asksProvider?: boolean },
  work: (admin: ProfileAdmin) => Promise<T>,
): Promise<T> {
  const place = await profilePlace(options)
  const registry = readRegistry({ settings: place.settings, environment: process.env, source: place.source, isLook: !asksProvider })
  const events = new EventStore({ folder: place.stateFolder, processRole: 'cli', title: `gatewatch ${command}`, thread: 'never' })
  const store = fileStore(place.stateFolder)
  const sdk = await startSdk({ eventSink: () => events, standalone: false, processRole: 'cli' })
  try {
    const telemetry = new Telemetry(sdk.source, { profiles: { configured: configuredNames(place.settings) } })
    return await work({ ...place, store, registry, telemetry, caller: clientCaller(`gatewatch ${command}`) })
  } finally {
    await runSteps(`gatewatch ${command} ends`, [
      { name: 'store', run: () => store.close() },
      { name: 'telemetry', run: () => sdk.shutdown() },
    ])
    if (events.failure) output.note(`gatewatch: what was done is not in the event store: ${events.failure.message}`)
  }
}

/** Every profile that is known here by its id, wherever it is named. */
export async function knownProfiles({ settings, store }: Pick<ProfileAdmin, 'settings' | 'store'>): Promise<string[]> {
  const stored = [...(await store.list()), ...((await store.damaged?.()) ?? [])]
  return [...new Set([...stored.map(({ id }) => id), ...Object.keys(settings.profiles)])]
}

/**
 * The id of a profile that is named by its id, or by the name under which it is shown.
 *
 * @throws {GatewayError} `GW_PROFILE_UNKNOWN` naming those there are.
 */
export async function profileNamed(admin: ProfileAdmin, name: string): Promise<string> {
  const ids = await knownProfiles(admin)
  const found = ids.find(id => id === name) ?? ids.find(id => admin.telemetry.profile(id) === name)
  if (found !== undefined) return found
  const known = ids.map(id => admin.telemetry.profile(id)).join(', ') || 'there is none'
  throw new GatewayError('GW_PROFILE_UNKNOWN', `no profile is called ${admin.telemetry.profile(name)}; known: ${known}`, {
    next: 'add_profile',
  })
}

/**
 * Checks the name of a profile.
 *
 * @param what Names the parameter, for the message.
 * @throws {GatewayError} `GW_CONFIG` for a name that no list could show.
 */
export function requireName(what: string, name: string): void {
  const fault = name.trim() === '' ? 'empty' : /\p{Cc}/u.test(name) ? 'a text with control characters' : undefined
  if (fault) throw configError(`${what}: the name of the profile is ${fault}, allowed: any other text, such as openai:work`)
}
