import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { Gatewatch } from '../gatewatch/gatewatch.ts'
import { OpsPage } from '../ops/ops-page.ts'
import { opsRouter } from '../ops/ops-router.ts'
import { bufferedBytes, refused, type Settings, variableName } from '../settings/options.ts'
import { OpenItems } from '../tools/open-items.ts'
import { packageVersion } from '../tools/own-package.ts'
import { ConnectionDrain } from './connection-drain.ts'
import { type DataSourceOptions, dataSourceOf } from './data-source.ts'
import { answerError } from './error-answer.ts'
import { BodyRoom } from './inbound-body.ts'
import { InboundKeys, requireClient, requireOperator } from './inbound-keys.ts'
import { type InboundRequest, inboundPathOf } from './inbound-request.ts'
import {
  healthEndpoints,
  type MetricsEndpointOptions,
  metricsEndpoint,
  operatorEndpoints,
  type ReadyCallback,
} from './operator-endpoints.ts'
import { OperatorSessions, offerSignIn, signIn } from './operator-sessions.ts'
import { callHandlers, protocolOf, providerEndpoints, stopping } from './provider-endpoints.ts'
import { requestSpans } from './request-span.ts'
import { tokenGate } from './token-gate.ts'

interface ServeOptions extends DataSourceOptions {
  /** What `/metrics` answers, for an `Accept` header. */
  metrics: MetricsEndpointOptions['metrics']
  listen: Settings['listen']
  environment: NodeJS.ProcessEnv
  endpoints: ServedEndpoints
}

/** What is served apart from health, metrics and operators' data. */
interface ServedEndpoints {
  /** Provider calls and the token endpoint gate. @default true */
  providers?: boolean
  /** What `/readyz` says. @default whether a call could be served now */
  ready?: ReadyCallback | undefined
}

/** A gateway that listens. */
export interface Serving {
  /** `http://127.0.0.1:8089` */
  readonly url: string
  /**
   * Stops listening, answers what comes on connections that are open with `Connection: close`, gives requests under way
   * `graceMs` to end, then gives them up and cuts them. Asked again, the shorter grace counts.
   *
   * @param graceMs @default listen.stopGraceMs
   */
  stop(graceMs?: number): Promise<void>
  /** As `stop`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

const HEADERS_TIMEOUT_MS = 15_000
const KEEP_ALIVE_MS = 65_000
/** Node looks for requests that take too long only this often, by itself: a limit shorter than that would be none. */
const LOOKS_PER_LIMIT = 4

/**
 * Serves the provider endpoints, health, metrics and operators' data of a Gatewatch as its `listen` says. Closing the Gatewatch ends it.
 *
 * @throws {GatewayError} `GW_CONFIG` when the address cannot be bound or the keys' variable is empty, `GW_CLOSED` once stopped.
 */
export async function serveGatewatch(watch: Gatewatch, endpoints: ServedEndpoints = {}): Promise<Serving> {
  return Gatewatch.attach(watch, ({ settings: { listen }, ...parts }) =>
    serve({ ...parts, endpoints, listen, version: packageVersion(), metrics: accept => watch.metrics(accept) }),
  )
}

/**
 * Serves the provider endpoints, health, metrics and operators' data.
 *
 * @throws {GatewayError} `GW_CONFIG` when the address cannot be bound or the keys' variable is empty.
 */
async function serve(options: ServeOptions): Promise<Serving> {
  const { listen } = options
  const headersTimeout = Math.min(HEADERS_TIMEOUT_MS, listen.requestTimeoutMs)
  const limits = {
    requestTimeout: listen.requestTimeoutMs,
    headersTimeout,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: Math.ceil(headersTimeout / LOOKS_PER_LIMIT),
  }
  const keys = new InboundKeys(readKeys(listen.keysEnv, options.environment, options.source))
  const { gateway } = options
  const sessions = new OperatorSessions()
  const page = new OpsPage(dataSourceOf(options))
  const underWay = new OpenItems<AbortController>()
  const server = createServer(limits)
  const drain = new ConnectionDrain(server, () => {
    for (const call of underWay.all()) call.abort(stopping())
  })
  server.on('request', listenerOf(options, { keys, sessions, page, drain, underWay }))
  try {
    await bind(server, options)
  } catch (error) {
    page.stop()
    throw error
  }
  // What goes wrong later (no more file descriptors) must not end the process.
  server.on('error', fault => gateway.telemetry.faults.report('the server', fault))
  const { port } = server.address() as AddressInfo
  const stop = async (graceMs = listen.stopGraceMs) => {
    page.stop()
    await drain.end(graceMs)
  }
  return {
    url: `http://${listen.host.includes(':') ? `[${listen.host.replace(/[[\]]/g, '')}]` : listen.host}:${port}`,
    stop,
    [Symbol.asyncDispose]: () => stop(),
  }
}

interface AppParts {
  readonly keys: InboundKeys
  readonly sessions: OperatorSessions
  readonly page: OpsPage
  readonly drain: ConnectionDrain
  /** The provider calls that are not answered yet. */
  readonly underWay: OpenItems<AbortController>
}

/**
 * Provider calls do not go through Express: its routers and the layers of all other endpoints took a sixth of the CPU of a
 * call. Every other spelling of their paths (a slash at the end, capitals) does, and meets the same handlers.
 */
function listenerOf(options: ServeOptions, parts: AppParts): RequestListener {
  const { gateway, listen } = options
  const callOptions = { ...listen, room: new BodyRoom(bufferedBytes(listen)), underWay: parts.underWay }
  const calls = options.endpoints.providers === false ? new Map() : callHandlers(gateway, callOptions)
  const beginSpan = requestSpans(gateway.telemetry)
  const admit = requireClient(parts.keys)
  const routes = new Map([...calls.keys()].map(path => [path, { path }]))
  const app = appOf(options, parts, options.endpoints.providers === false ? [] : [providerEndpoints(gateway, calls, callOptions)])
  return (request: InboundRequest, response) => {
    const path = inboundPathOf(request)
    const handle = request.method === 'POST' ? calls.get(path) : undefined
    if (!handle) {
      app(request, response)
      return
    }
    request.route = routes.get(path)
    try {
      beginSpan(request, response, () => admit(request, response, () => void handle(request, response)))
    } catch (error) {
      answerError(response, error, { protocol: protocolOf(request) })
    }
  }
}

function appOf(options: ServeOptions, { keys, sessions, page, drain }: AppParts, providers: readonly RequestHandler[]): express.Express {
  const { gateway, metrics, endpoints } = options
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.get('/readyz', (_request, response, next) => {
    if (drain.isDraining) response.status(503).json({ status: 'stopping' })
    else next()
  })
  app.use(healthEndpoints(gateway, endpoints.ready))
  // Before the spans: requests of the page must not be recorded as changes that the page is notified of.
  app.use(opsRouter(page, requireOperator(keys, { sessions, offerSignIn })))
  app.use('/metrics', requireOperator(keys, { sessions }))
  app.use(metricsEndpoint({ metrics }))
  app.use(requestSpans(gateway.telemetry))
  app.use(signIn(keys, sessions))
  app.use('/ops', requireOperator(keys, { sessions }))
  app.use(operatorEndpoints(gateway))
  if (providers.length > 0) app.use(tokenGate(gateway, keys))
  // Without a path: what is added behind it, and the answer that there is nothing, need a key as well.
  app.use(requireClient(keys))
  for (const served of providers) app.use(served)
  app.use((_request, response) => {
    const error = new GatewayError('GW_BAD_REQUEST', 'no such endpoint; docs/gateway.md lists the endpoints', { next: 'fix_request' })
    answerError(response, error, { status: 404 })
  })
  app.use(onRefused)
  return app
}

/** What Express and its body reader refuse: a path that cannot be decoded; a body too large, cut off, badly compressed. */
const onRefused: ErrorRequestHandler = (cause: { type?: unknown; status?: unknown }, request, response, _next) => {
  const tooLarge = cause.type === 'entity.too.large'
  const message = tooLarge
    ? 'the body is larger than listen.maxBodyBytes allows'
    : `the ${cause instanceof URIError ? 'path' : 'body'} could not be read`
  const code = tooLarge ? 'GW_TOO_LARGE' : 'GW_BAD_REQUEST'
  const isTheirs = typeof cause.status === 'number' && cause.status < 500
  answerError(response, isTheirs ? new GatewayError(code, message, { next: 'fix_request', cause }) : cause, {
    protocol: protocolOf(request),
  })
}

function readKeys(keysEnv: string | undefined, environment: NodeJS.ProcessEnv, source: string): string[] {
  if (keysEnv === undefined) return []
  const keys = (environment[keysEnv] ?? '')
    .split(',')
    .map(key => key.trim())
    .filter(key => key !== '')
  if (keys.length === 0) throw refused(source, [`listen.keysEnv: the environment variable ${variableName(keysEnv)} holds no key`])
  const short = keys.filter(key => key.length < 16).length
  if (short > 0) throw refused(source, [`listen.keysEnv: ${short} of the keys in ${variableName(keysEnv)} are shorter than 16 characters`])
  return keys
}

function bind(server: Server, { listen, source }: ServeOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(configError(`${source}: listen: ${listen.host}:${listen.port} cannot be bound (${cause.code ?? cause.name})`, cause))
    })
    server.listen(listen.port, listen.host.replace(/[[\]]/g, ''), resolve)
  })
}
