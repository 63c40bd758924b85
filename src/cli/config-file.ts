import { dirname, resolve } from 'node:path'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { parseSettings, refused, type Settings } from '../options.ts'
import { readNamedFile, stateFolderAt } from '../store/own-files.ts'
import { readStateSettings, type StateSettings, withStateSettings } from './state-settings.ts'

export const DEFAULT_CONFIG = 'gatewatch.json'

/** A configuration file that was read and checked. */
export interface ConfigFile {
  readonly path: string
  /** The settings, with what commands set in the state folder. */
  readonly settings: Settings
  /** The settings as they are written in the file. */
  readonly written: Settings
  readonly stateSettings: StateSettings
  /** Absolute folder in which state is stored: `state` as it is written, or a folder of ours in it (`stateFolderAt`). */
  readonly stateFolder: string
}

/** Longest configuration that is read, in bytes. */
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
    if (isGatewayError(cause)) throw new GatewayError('GW_CONFIG', cause.message, { next: 'fix_configuration', cause })
    const why = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new GatewayError('GW_CONFIG', `${path}: cannot be read (${why})`, { next: 'fix_configuration', cause })
  }
  const written = parseSettings(parseJson(text, path), path)
  const stateFolder = stateFolderAt(resolve(dirname(path), written.state))
  const stateSettings = await readStateSettings(stateFolder)
  return { path, settings: withStateSettings(written, stateSettings), written, stateSettings, stateFolder }
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // The parser quotes the text around the fault; a line number says as much and quotes nothing.
    const position = Number(/position (\d+)/.exec(String(error))?.[1] ?? Number.NaN)
    const where = Number.isNaN(position) ? '' : ` near line ${text.slice(0, position).split('\n').length}`
    throw refused(path, [`is not JSON${where}`])
  }
}
