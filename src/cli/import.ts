import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { startSdk } from '../../otel/sdk/sdk.ts'
import { clientCaller } from '../domain/caller-site.ts'
import { expiryOf, isOAuth } from '../domain/credential.ts'
import type { ImportOutcome, ImportSource } from '../domain/enums.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import type { ImportedProfile, ImportOptions, ProfileImport } from '../importers/profile-import.ts'
import { recordImport } from '../importers/profile-import.ts'
import { createRegistry, type Registry } from '../providers/registry.ts'
import { readRegistry } from '../settings/load-settings.ts'
import { parseSettings } from '../settings/options.ts'
import { fileStore } from '../store/file-store.ts'
import { memoryStore } from '../store/memory-store.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { profileName } from '../telemetry/profile-name.ts'
import { Telemetry } from '../telemetry/telemetry.ts'
import { DEFAULT_CONFIG } from './config-file.ts'
import { type ListenAddress, listenUrl, placesNote, tokenGateUrl } from './gate-url.ts'
import { EXIT, type ExitCode, inWords, type Output, textTable } from './output.ts'
import { type PlaceOptions, profilePlace, requireName, withProfileAdmin } from './profile-admin.ts'

interface ImportCommandOptions extends PlaceOptions {
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

/** A dry run needs no state folder and writes nothing, not even an event. */
async function look(options: ImportCommandOptions): Promise<Done> {
  const isPlaced = options.config !== undefined || options.state !== undefined || existsSync(DEFAULT_CONFIG)
  const place = isPlaced ? await profilePlace(options) : undefined
  const settings = place?.settings ?? parseSettings({}, 'options')
  const registry = place ? readRegistry({ settings, environment: process.env, source: place.source }) : createRegistry()
  const store = place ? fileStore(place.stateFolder) : memoryStore()
  const sdk = await startSdk({ standalone: false, processRole: 'cli' })
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

/** 0: all were imported; 2: some were left out; 1: none was imported. A dry run ends as the import would. */
function exitCodeOf({ profiles }: ProfileImport): ExitCode {
  const left = profiles.filter(({ outcome }) => LEFT_OUT.has(outcome))
  if (left.length === profiles.length) return EXIT.dead
  return left.length === 0 ? EXIT.good : EXIT.warning
}

const APPLICATIONS: Readonly<Record<ImportSource, string>> = {
  openclaw: 'OpenClaw',
  codex: 'the Codex CLI',
  claude: 'Claude Code',
  gemini: 'the Gemini CLI',
}

/** An import as JSON. Accounts are digests, profiles have their displayed names. */
function importValue({ source, dryRun, places, profiles, order, notes }: ProfileImport, nowMs: number) {
  return { source, dryRun, places, profiles: profiles.map(profile => rowOf(profile, nowMs)), order: order.map(profileName), notes }
}

/** An import as text: what was imported, what was left out and why, and what to do about tokens that must have one owner. */
function importText(imported: ProfileImport, nowMs: number, listen: ListenAddress): string {
  const { source, dryRun, places, profiles, order, notes } = imported
  const parts = [`From ${APPLICATIONS[source]}: ${places.join(', ') || 'nothing was read'}`]
  if (profiles.length > 0) parts.push(profileRows(imported, nowMs))
  const sentences = [
    ...profiles.flatMap(({ id, notes: said }) => said.map(note => `${profileName(id)}: ${note}.`)),
    ...notes,
    ...(order.length > 1 ? [`${APPLICATIONS[source]} tries them in this order: ${order.map(profileName).join(', ')}.`] : []),
  ]
  if (sentences.length > 0) parts.push(sentences.join('\n'))
  const rotating = profiles.filter(({ rotates, outcome }) => rotates && outcome !== 'unusable' && outcome !== 'unchanged')
  if (rotating.length > 0) parts.push(ownerAdvice(imported, rotating, listen))
  if (dryRun) parts.push('Nothing was stored (--dry-run).')
  return parts.join('\n\n')
}

function profileRows({ profiles, dryRun }: ProfileImport, nowMs: number): string {
  return textTable(
    ['PROFILE', 'TYPE', 'EXPIRES IN', 'GENERATION', 'ACCOUNT', dryRun ? 'WOULD BE' : 'OUTCOME'],
    profiles.map(profile => {
      const { profile: name, type, expiresInSeconds, generation, account, outcome } = rowOf(profile, nowMs)
      return [
        name,
        type ?? '-',
        expiresInSeconds === undefined ? '-' : inWords(expiresInSeconds),
        generation ?? '-',
        account ?? '-',
        outcome.replaceAll('_', ' '),
      ]
    }),
  )
}

function rowOf({ id, provider, outcome, credential, rotates, notes }: ImportedProfile, nowMs: number) {
  const expiresAt = credential && expiryOf(credential)
  const oauth = credential && isOAuth(credential) ? credential : undefined
  return {
    profile: profileName(id),
    provider,
    outcome,
    type: credential?.type,
    expiresInSeconds: expiresAt === undefined ? undefined : Math.round((expiresAt - nowMs) / 1000),
    generation: oauth?.generation,
    account: fingerprint(oauth?.account),
    hasRefresh: oauth && oauth.refresh !== undefined,
    rotates,
    notes,
  }
}

/** Of two programs that hold a rotating token, the one that refreshes first locks the other one out. */
function ownerAdvice({ source }: ProfileImport, rotating: readonly ImportedProfile[], listen: ListenAddress): string {
  const application = APPLICATIONS[source]
  const providers = [...new Set(rotating.map(({ provider }) => provider))]
  const taken = rotating.some(({ outcome }) => outcome === 'imported' || outcome === 'replaced')
  const opening = taken
    ? `A refresh token that rotates must have one owner, and ${application} still holds this one. A caller that refreshes second is locked out, so do one of these before either does:`
    : `A refresh token that rotates must have one owner: of two, a caller that refreshes second is locked out. Choose one of these:`
  const urls = providers.map(provider => tokenGateUrl(listenUrl(listen), provider, listen)).join(' or ')
  const pointed =
    source === 'codex'
      ? `start Codex with CODEX_REFRESH_TOKEN_URL_OVERRIDE=${urls}`
      : `point the token URL of ${application} to ${urls}, where it has one`
  const flag = taken ? '' : ', and import with --take-ownership'
  return [
    opening,
    `- both go through one gate: ${pointed}${placesNote(listen)}${flag}`,
    `- two logins, each with a token of its own: gatewatch profiles login --provider ${providers[0]}`,
    `- Gatewatch alone: take the login out of the file of ${application} (a logout there may revoke the token)${flag}`,
    ...(source === 'codex' ? [codexCalls(listen)] : []),
  ].join('\n')
}

/** Without `supports_websockets = false` the Codex CLI may try a WebSocket first, and logs that it was refused. */
function codexCalls(listen: ListenAddress): string {
  const provider = `base_url = "${listenUrl(listen)}/v1", wire_api = "responses" and supports_websockets = false`
  return `The calls of Codex go through the gateway with a model provider of its own in ~/.codex/config.toml: ${provider}.`
}
