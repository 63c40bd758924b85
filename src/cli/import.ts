import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { startSdk } from '../../otel/sdk/sdk.ts'
import { clientCaller } from '../domain/caller-site.ts'
import type { ImportOutcome, ImportSource } from '../domain/enums.ts'
import { Recorder } from '../events/recorder.ts'
import { recordImport } from '../importers/import-record.ts'
import type { ImportOptions, ProfileImport } from '../importers/profile-import.ts'
import { readRegistry } from '../load-settings.ts'
import { parseSettings } from '../options.ts'
import { createRegistry, type Registry } from '../providers/registry.ts'
import { fileStore } from '../store/file-store.ts'
import { memoryStore } from '../store/memory-store.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { Telemetry } from '../telemetry/telemetry.ts'
import { DEFAULT_CONFIG } from './config-file.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import type { ListenAddress } from './gate-url.ts'
import { importText, importValue } from './import-list.ts'
import type { Output } from './output.ts'
import { type PlaceOptions, profilePlace, requireName, withProfileAdmin } from './profile-admin.ts'

export interface ImportCommandOptions extends PlaceOptions {
  from: ImportSource
  /** File or folder of the source. @default where the application keeps it */
  path?: string
  /** The one to take. @default all */
  profile?: string
  /** Id that the one gets here. */
  as?: string
  takeOwnership?: boolean
  replace?: boolean
  dryRun?: boolean
}

const COMMAND = 'profiles import'

/** What an import did, and where its gateway listens. */
interface Done {
  readonly imported: ProfileImport
  readonly listen: ListenAddress
}

/** `gatewatch profiles import --from SOURCE`: takes over the logins of another application, or says what would come. */
export async function importCommand(options: ImportCommandOptions, output: Output): Promise<ExitCode> {
  if (options.as !== undefined) requireName('--as', options.as)
  const { imported, listen } = options.dryRun ? await look(options) : await take(options, output)
  const nowMs = Date.now()
  output.show(importValue(imported, nowMs), importText(imported, nowMs, listen))
  return exitCodeOf(imported)
}

function take(options: ImportCommandOptions, output: Output): Promise<Done> {
  return withProfileAdmin(options, { command: COMMAND, output }, async ({ store, registry, telemetry, caller, settings }) => ({
    imported: await recordImport(telemetry, caller, requestOf(options, store, registry)),
    listen: settings.listen,
  }))
}

/** A dry run needs no place to put profiles, and leaves nothing behind, not even a line in the recorder. */
async function look(options: ImportCommandOptions): Promise<Done> {
  const isPlaced = options.config !== undefined || options.state !== undefined || existsSync(DEFAULT_CONFIG)
  const place = isPlaced ? await profilePlace(options) : undefined
  const settings = place?.settings ?? parseSettings({}, 'options')
  const registry = place ? readRegistry({ settings, environment: process.env, source: place.source }) : createRegistry()
  const store = place ? fileStore(place.stateFolder) : memoryStore()
  const sdk = await startSdk({ recorder: new Recorder(), standalone: false, processRole: 'cli' })
  try {
    const request = requestOf(options, store, registry)
    const imported = await recordImport(new Telemetry(sdk.source), clientCaller(`gatewatch ${COMMAND}`), request)
    return { imported, listen: settings.listen }
  } finally {
    await store.close()
    await sdk.shutdown()
  }
}

function requestOf(options: ImportCommandOptions, store: ProfileStore, registry: Registry): ImportOptions {
  const { from, path, profile, as, takeOwnership = false, replace = false, dryRun = false } = options
  return {
    source: from,
    place: { environment: process.env, home: homedir(), ...(path !== undefined && { path }) },
    store,
    registry,
    takeOwnership,
    replace,
    dryRun,
    ...(profile !== undefined && { only: profile }),
    ...(as !== undefined && { renameTo: as }),
  }
}

const LEFT_OUT: ReadonlySet<ImportOutcome> = new Set(['exists', 'needs_owner', 'unusable'])

/** 0: all came; 2: some were left out; 1: nothing came. A dry run ends as the import would. */
function exitCodeOf({ profiles }: ProfileImport): ExitCode {
  const left = profiles.filter(({ outcome }) => LEFT_OUT.has(outcome))
  if (left.length === profiles.length) return EXIT.dead
  return left.length === 0 ? EXIT.good : EXIT.warning
}
