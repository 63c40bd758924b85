import { resolve } from 'node:path'
import { startStandaloneSdk } from '../../otel/sdk/sdk.ts'
import { durationOf } from '../domain/duration-text.ts'
import { eventFile, requireOwnEventFile } from '../events/event-file.ts'
import { type Gatewatch, startGatewatch } from '../gatewatch/gatewatch.ts'
import { serveGatewatch } from '../server/server.ts'
import { fileStore } from '../store/file-store.ts'
import { stateFolderAt } from '../store/own-files.ts'
import { runSteps } from '../tools/run-guarded.ts'
import { readConfigFile } from './config-file.ts'
import { keyPlaceNote, tokenGateUrl } from './gate-url.ts'
import type { Output } from './output.ts'
import { EXIT, type ExitCode } from './output.ts'
import { profileTable } from './result-tables.ts'
import { waitForSignal } from './signals.ts'

interface ServeCommandOptions {
  config: string
  /** Folder in which events are kept on disk, with those of watched processes. @default `GATEWATCH_STATE`, else none */
  state?: string
}

/** `gatewatch serve --config FILE`: runs the gateway until it is asked to end. */
export async function serveCommand(
  { config, state = process.env.GATEWATCH_STATE }: ServeCommandOptions,
  output: Output,
): Promise<ExitCode> {
  const { settings, stateFolder, path } = await readConfigFile(config)
  const recordIn = state ? stateFolderAt(resolve(state)) : undefined
  if (recordIn !== undefined) requireOwnEventFile(eventFile(recordIn))
  const { state: _state, ...options } = settings
  const store = fileStore(stateFolder)
  let watch: Gatewatch | undefined
  try {
    watch = await startGatewatch({
      ...options,
      store,
      source: path,
      startTelemetry: startStandaloneSdk,
      processRole: 'gateway',
      ...(recordIn !== undefined && { recordIn }),
    })
    const serving = await serveGatewatch(watch)
    const profiles = await watch.profiles()
    // Before the first line is printed: a signal that follows it must end the gateway cleanly.
    const asked = waitForSignal()
    const logins = [...new Set(profiles.filter(({ type }) => type === 'oauth').map(({ provider }) => provider))]
    const tokenUrls = logins.map(provider => tokenGateUrl(serving.url, provider, settings.listen))
    const gateLine = tokenUrls.length === 0 ? '' : `\ntoken URL of clients: ${tokenUrls.join(', ')}${keyPlaceNote(settings.listen)}`
    output.show(
      { event: 'listening', url: serving.url, tokenUrls, profiles },
      `gatewatch listens on ${serving.url}${gateLine}\n\n${profileTable(profiles)}`,
    )
    await asked
    output.note('ending: requests under way are finished first')
    await noteUnsaved(watch, settings.listen.stopGraceMs, output)
  } finally {
    await runSteps('gatewatch serve ends', [
      { name: 'gateway', run: () => watch?.close() },
      { name: 'store', run: () => store.close() },
    ])
  }
  return EXIT.good
}

/** Names the tokens that a second signal or SIGKILL would lose: they are not stored yet. */
async function noteUnsaved(watch: Gatewatch, graceMs: number, output: Output): Promise<void> {
  const profiles = await watch.profiles().catch(() => [])
  const names = profiles.filter(({ state }) => state === 'not_persisted').map(({ profile }) => profile)
  if (names.length === 0) return
  output.note(
    `the new token of ${names.join(', ')} is only in memory: the store is tried for ${durationOf(graceMs)} more (is the disk full?)`,
  )
}
