import { existsSync } from 'node:fs'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { isLoopback, type Settings, variableName } from '../settings/options.ts'
import { DEFAULT_CONFIG, readConfigFile } from './config-file.ts'

/** Which gateway a command asks, as its options say. */
export interface AskedGatewayOptions {
  /** Address of the gateway. @default where the `gatewatch.json` here listens, else http://127.0.0.1:8089 */
  url?: string
  /** Environment variable that holds one of the gateway's keys. @default see `askedGateway` */
  keyEnv?: string
}

/** A running gateway. */
interface AskedGateway {
  readonly url: string
  readonly key?: string
}

/** Holds one of the gateway's keys for commands that ask a running gateway. */
const KEY_VARIABLE = 'GATEWATCH_KEY'
const DEFAULT_URL = 'http://127.0.0.1:8089'

/** A gateway on a busy machine answers late; one that does not listen is reported at once all the same. */
const TIMEOUT_MS = 15_000
/** Profiles are probed one after the other, and a provider that hangs is waited for. */
const PROBES_TIMEOUT_MS = 300_000

/**
 * The gateway that a command asks, and the key it shows there: that of `--key-env`, else `GATEWATCH_KEY`, else the first one in
 * `listen.keysEnv` of the `gatewatch.json` here, which is shown only to the address where that gateway listens.
 *
 * @throws {GatewayError} `GW_CONFIG` when the variable of `--key-env` holds nothing.
 */
export async function askedGateway(
  { url, keyEnv }: AskedGatewayOptions,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<AskedGateway> {
  const listen = await listenHere()
  const here = listen && addressOf(listen)
  const asked = url ?? here ?? DEFAULT_URL
  const key = keyEnv === undefined ? environment[KEY_VARIABLE] || keyOf(listen, here, asked, environment) : named(keyEnv, environment)
  return { url: asked, ...(key && { key }) }
}

/** Asks a running gateway. @throws {GatewayError} `GW_UNAUTHORIZED`, `GW_UPSTREAM`, and what `fetch` throws where no server answers. */
export async function ask<T>(base: string, path: string, key: string | undefined, method: 'GET' | 'POST' = 'GET'): Promise<T> {
  const answer = await fetch(new URL(path, base), {
    method,
    signal: AbortSignal.timeout(method === 'POST' ? PROBES_TIMEOUT_MS : TIMEOUT_MS),
    headers: key ? { authorization: `Bearer ${key}` } : {},
  })
  if (answer.ok) return (await answer.json()) as T
  if (answer.status !== 401 && answer.status !== 403)
    throw new GatewayError('GW_UPSTREAM', `the gateway answers ${answer.status} to ${path}: its log and its telemetry say why`, {
      next: 'try_again_later',
    })
  throw new GatewayError(
    'GW_UNAUTHORIZED',
    `the gateway answers ${answer.status} to ${path}: name the environment variable with one of its keys (listen.keysEnv) with --key-env, or put that key into GATEWATCH_KEY`,
    { next: 'fix_configuration' },
  )
}

function named(keyEnv: string, environment: NodeJS.ProcessEnv): string {
  const key = environment[keyEnv]
  if (key) return key
  throw configError(`--key-env: the environment variable ${variableName(keyEnv)} is ${key === '' ? 'empty' : 'not set'}`)
}

/** How the gateway of the configuration here listens. A command that only asks does not fail because of that file. */
async function listenHere(): Promise<Settings['listen'] | undefined> {
  if (!existsSync(DEFAULT_CONFIG)) return undefined
  return readConfigFile(DEFAULT_CONFIG).then(
    ({ settings }) => settings.listen,
    () => undefined,
  )
}

/** Where a gateway is reached from its own machine; `undefined` where it picks its port itself. */
function addressOf({ host, port }: Settings['listen']): string | undefined {
  if (port === 0) return undefined
  const bare = host.replace(/[[\]]/g, '')
  const reached = bare === '0.0.0.0' ? '127.0.0.1' : bare === '::' ? '::1' : bare
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`
}

function keyOf(
  listen: Settings['listen'] | undefined,
  here: string | undefined,
  asked: string,
  environment: NodeJS.ProcessEnv,
): string | undefined {
  if (listen?.keysEnv === undefined || here === undefined || !isSamePlace(new URL(here), new URL(asked))) return undefined
  return environment[listen.keysEnv]
    ?.split(',')
    .map(key => key.trim())
    .find(key => key !== '')
}

/** The same port on the same host; the names of loopback are one host. */
function isSamePlace(one: URL, other: URL): boolean {
  const isSameHost = one.hostname === other.hostname || (isLoopback(one.hostname) && isLoopback(other.hostname))
  return one.protocol === other.protocol && isSameHost && one.port === other.port
}
