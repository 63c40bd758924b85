import { readMapOfCaller } from '../callers/caller.ts'
import type { Gatewatch, GatewatchOptions } from './gatewatch.ts'

/**
 * Starts Gatewatch in this process: telemetry, refresh gate, bypass watch, provider calls. Each piece is useful alone.
 *
 * @throws {GatewayError} `GW_CONFIG` for options that cannot be used, or what the store throws.
 * @example
 * import { createGatewatch } from 'gatewatch'
 *
 * const watch = await createGatewatch({ providers: { acme: { tokenUrl: 'https://login.acme.example/oauth/token' } } })
 */
export async function createGatewatch(options: GatewatchOptions = {}): Promise<Gatewatch> {
  // Before anything is awaited: the caller leaves the stack then.
  const mapRead = readMapOfCaller(createGatewatch)
  // Loaded here: an application that imports the library may never use it, and one that does may start other things meanwhile.
  const { startEmbedded } = await import('./gatewatch.ts')
  return startEmbedded(options, mapRead)
}
