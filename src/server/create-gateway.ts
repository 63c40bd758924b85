import { readMapOfCaller } from '../callers/caller.ts'
import { type Gatewatch, type GatewatchOptions, requirePublic, startGatewatch } from '../gatewatch/gatewatch.ts'
import type { ListenSettings } from '../settings/settings-input.ts'
import { serveGatewatch } from './server.ts'

/** Everything `createGateway` takes: what `createGatewatch` takes, and where to listen. */
export interface CreateGatewayOptions extends GatewatchOptions {
  /** Address, keys and limits of the server. @default port 8089 on loopback */
  listen?: ListenSettings
  /**
   * Says whether the application is ready: `/readyz` answers 200 for `true`, else 503. One that throws is reported once, and not ready.
   *
   * @default whether a profile could serve a call now
   */
  ready?: () => boolean | Promise<boolean>
}

/** A gateway that listens in this process. */
export interface ListeningGateway {
  /** `http://127.0.0.1:8089` */
  readonly url: string
  /** The Gatewatch behind it: acquire tokens, make calls, wrap functions of your own. Closing it closes the gateway. */
  readonly watch: Gatewatch
  /**
   * Stops listening, lets requests under way end, then closes the Gatewatch.
   *
   * @param graceMs How long requests under way may take, in ms. @default listen.stopGraceMs
   * @throws {AggregateError} as `Gatewatch.close`.
   */
  close(graceMs?: number): Promise<void>
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts a gateway in this process: provider endpoints, token endpoint gate, ops page, `/metrics`. Spans and metrics go through the
 * OpenTelemetry of the process. Without a `store` and `profiles` there is nothing that could serve a call: then the server has no
 * provider endpoints and no token endpoint gate, and `/readyz` is what `ready` says.
 *
 * @throws {GatewayError} `GW_CONFIG` for options that cannot be used or an address that cannot be bound, or what the store throws.
 * @example
 * import { createGateway } from 'gatewatch/gateway'
 * import { fileStore } from 'gatewatch/store'
 *
 * await using gateway = await createGateway({ store: fileStore('./gatewatch-state'), listen: { port: 8089 } })
 * console.log(gateway.url)
 */
export async function createGateway({ ready, ...options }: CreateGatewayOptions = {}): Promise<ListeningGateway> {
  requirePublic(options, ['listen', 'ready'])
  const watch = await startGatewatch(options, readMapOfCaller(createGateway))
  const close = (graceMs?: number) => watch.close(graceMs)
  try {
    const providers = options.store !== undefined || options.profiles !== undefined
    const { url } = await serveGatewatch(watch, { providers, ready: ready ?? (providers ? undefined : () => true) })
    return { url, watch, close, [Symbol.asyncDispose]: () => close() }
  } catch (error) {
    // Why it cannot listen says more than what goes wrong on the way out.
    await close(0).catch(() => undefined)
    throw error
  }
}
