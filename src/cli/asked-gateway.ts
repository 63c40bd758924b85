import { existsSync } from 'node:fs'
import { GatewayError } from '../domain/gateway-error.ts'
import { isLoopback, type Settings, variableName } from '../options.ts'
import { DEFAULT_CONFIG, readConfigFile } from './config-file.ts'

/** Which gateway a command asks, as its options say. */
export interface AskedGatewayOptions {
  /** Address of the gateway. @default where the `gatewatch.json` here listens, else http://127.0.0.1:8089 */
  url?: string
  /** Environment variable that holds one of the gateway's keys. @default see `askedGateway` */
  keyEnv?: string
}

/** A running gateway. */
export interface AskedGateway {
  readonly url: string
  readonly key?: string
}

/** Holds one of the gateway's keys for commands that ask a running gateway. */
const KEY_VARIABLE = 'GATEWATCH_KEY'
const DEFAULT_URL = 'http://127.0.0.1:8089'

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

function named(keyEnv: string, environment: NodeJS.ProcessEnv): string {
  const key = environment[keyEnv]
  if (key) return key
  throw new GatewayError(
    'GW_CONFIG',
    `--key-env: the environment variable ${variableName(keyEnv)} is ${key === '' ? 'empty' : 'not set'}`,
    {
      next: 'fix_configuration',
    },
  )
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
