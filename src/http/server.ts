import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler } from 'express'
import { GatewayError } from '../domain/gateway-error.ts'
import { refused, type Settings } from '../options.ts'
import { answerError } from './error-answer.ts'
import { InboundKeys, requireKey, requireOperator } from './inbound-keys.ts'
import { healthEndpoints, type OperatorEndpointsOptions, operatorEndpoints } from './operator-endpoints.ts'
import { providerEndpoints } from './provider-endpoints.ts'
import { requestSpans } from './request-span.ts'

export interface ServeOptions extends OperatorEndpointsOptions {
  listen: Settings['listen']
  environment: NodeJS.ProcessEnv
  /** What the settings were read from, for messages. */
  source: string
}

/** A gateway that listens. */
export interface Serving {
  /** `http://127.0.0.1:8089` */
  readonly url: string
  /** Stops taking requests, gives those under way `graceMs` to end, then cuts them. */
  stop(graceMs?: number): Promise<void>
}

const HEADERS_TIMEOUT_MS = 15_000
const KEEP_ALIVE_MS = 65_000
const GRACE_MS = 5_000

/**
 * Serves the provider endpoints, health, metrics and operators' data.
 *
 * @throws {GatewayError} `GW_CONFIG` when the address cannot be bound or the keys' variable is empty.
 */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { listen } = options
  const server = createServer(appOf(options))
  server.requestTimeout = listen.requestTimeoutMs
  server.headersTimeout = Math.min(HEADERS_TIMEOUT_MS, listen.requestTimeoutMs)
  server.keepAliveTimeout = KEEP_ALIVE_MS
  await bind(server, options)
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${listen.host.includes(':') ? `[${listen.host.replace(/[[\]]/g, '')}]` : listen.host}:${port}`,
    stop: (graceMs = GRACE_MS) => close(server, graceMs),
  }
}

function appOf({ gateway, recorder, metrics, listen, environment, source }: ServeOptions): express.Express {
  const keys = new InboundKeys(readKeys(listen.keysEnv, environment, source))
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.use(healthEndpoints(gateway))
  app.use(requestSpans(gateway.telemetry))
  app.use(['/metrics', '/ops'], requireOperator(keys))
  app.use(operatorEndpoints({ gateway, recorder, metrics }))
  app.use('/v1', requireKey(keys))
  app.use(providerEndpoints(gateway, listen))
  app.use((_request, response) => {
    answerError(
      response,
      new GatewayError('GW_BAD_REQUEST', 'there is nothing here; see the README for the endpoints', { next: 'fix_request' }),
    )
  })
  app.use(onRefusedBody)
  return app
}

/** What the body reader refuses: too large, cut off, an encoding it cannot undo. */
const onRefusedBody: ErrorRequestHandler = (error: { type?: string; status?: number }, _request, response, _next) => {
  const tooLarge = error.type === 'entity.too.large'
  const message = tooLarge ? 'the body is larger than listen.maxBodyBytes allows' : 'the body could not be read'
  answerError(response, new GatewayError(tooLarge ? 'GW_TOO_LARGE' : 'GW_BAD_REQUEST', message, { next: 'fix_request', cause: error }))
}

function readKeys(keysEnv: string | undefined, environment: NodeJS.ProcessEnv, source: string): string[] {
  if (keysEnv === undefined) return []
  const keys = (environment[keysEnv] ?? '')
    .split(',')
    .map(key => key.trim())
    .filter(key => key !== '')
  if (keys.length === 0) throw refused(source, [`listen.keysEnv: the environment variable ${keysEnv} holds no key`])
  const short = keys.filter(key => key.length < 16).length
  if (short > 0) throw refused(source, [`listen.keysEnv: ${short} of the keys in ${keysEnv} are shorter than 16 characters`])
  return keys
}

function bind(server: Server, { listen, source }: ServeOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        new GatewayError('GW_CONFIG', `${source}: listen: ${listen.host}:${listen.port} cannot be bound (${cause.code ?? cause.name})`, {
          next: 'fix_configuration',
          cause,
        }),
      )
    })
    server.listen(listen.port, listen.host.replace(/[[\]]/g, ''), resolve)
  })
}

function close(server: Server, graceMs: number): Promise<void> {
  return new Promise(resolve => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
  })
}
