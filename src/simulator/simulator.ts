import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express'
import type { Fault } from './fault.ts'
import { FaultInjector, type InjectedFault } from './fault.ts'
import { type Grant, type GrantOptions, Grants } from './grants.ts'
import { openAiError, readBody, rfcError, textField } from './http-exchange.ts'
import type { ApiKeyOptions } from './provider-endpoint.ts'
import { PROVIDER_ROUTES, type ProviderEndpointContext, providerEndpoint } from './provider-endpoint.ts'
import { RequestCounts, type SimulatorCounts, type TokenRequestSeen } from './request-counts.ts'
import { deliver } from './response-delivery.ts'
import {
  AUTHORIZE_PATHS,
  type AuthorizationCodeOptions,
  AuthorizationCodes,
  addDeviceEndpoints,
  authorizePage,
  DeviceCodes,
} from './sign-in.ts'
import { PROVIDER_QUIRKS, type TokenEndpointContext, type TokenRequestHook, tokenEndpoint } from './token-endpoint.ts'

export interface SimulatorOptions {
  /** Port on 127.0.0.1; 0 takes a free one. @default 0 */
  port?: number
  /** Life of access tokens, in ms. @default 864_000_000 (ten days, as at ChatGPT) */
  accessLifeMs?: number
  /** Whether refresh tokens rotate. @default 'always' */
  rotate?: 'always' | 'never'
  /** Whether a replay that is not forgiven ends the whole login. @default true */
  reuseKillsFamily?: boolean
  /** How often a device may ask whether its code was entered, in ms. @default 5_000 */
  deviceIntervalMs?: number
  /** Life of a code for another device, in ms. @default 900_000 */
  deviceLifeMs?: number
  /** What the lists of models offer; any other model is answered as well. */
  models?: readonly string[]
  /** The simulator's clock, epoch ms. @default Date.now */
  now?: () => number
  /** Called at each step of a token request, which waits for it. @default does nothing */
  onTokenRequest?: TokenRequestHook
}

const SIMULATOR_DEFAULTS = {
  port: 0,
  accessLifeMs: 864_000_000,
  rotate: 'always',
  reuseKillsFamily: true,
  deviceIntervalMs: 5_000,
  deviceLifeMs: 900_000,
  models: ['gpt-5.5', 'gpt-5.5-mini', 'claude-sonnet-5'],
  now: () => Date.now(),
  onTokenRequest: () => {},
} as const satisfies Required<SimulatorOptions>

/** A provider and its token endpoint that misbehave on demand. Everything is in memory; nothing leaves the machine. */
export interface Simulator {
  /** `http://127.0.0.1:<port>`, without a slash at the end. */
  readonly url: string
  /** Signs an account in: a new family of tokens. */
  grantFor(options: GrantOptions): Grant
  /** A code as the browser would bring it back, to be exchanged at a token endpoint. */
  authorizationCodeFor(options: AuthorizationCodeOptions): string
  addApiKey(key: string, options: ApiKeyOptions): void
  /** Ends the login that a refresh or access token belongs to. */
  revoke(token: string): void
  /** Makes the provider refuse the access tokens of an account as expired, whatever they say. @throws {RangeError} without such a login. */
  expireAccess(account: string): void
  /** Makes the refresh tokens of an account too old. @throws {RangeError} without such a login. */
  expireGrant(account: string): void
  /** Puts a fault up. @throws {GatewayError} `GW_CONFIG` when it is not understood. */
  inject(fault: Fault): InjectedFault
  counts(): SimulatorCounts
  /** The last token requests, oldest first; see `TOKEN_REQUESTS_KEPT`. */
  tokenRequests(): TokenRequestSeen[]
  /** Sets counts and log to nothing; logins and faults stay. */
  resetCounts(): void
  /** Forgets everything: logins, keys, codes, faults, counts, log. */
  reset(): void
  /** Drops every connection, hanging ones too, and closes the port. Can be called again. */
  stop(): Promise<void>
}

/**
 * Starts a simulator.
 *
 * Token endpoints: `TOKEN_PATHS`, and `/oauth/revoke`. People sign in at `AUTHORIZE_PATHS` and `DEVICE_PATHS`. Provider endpoints: `PROVIDER_ROUTES`. The OpenAI ones are below
 * `/v1`, the ChatGPT backend below `/backend-api`, Anthropic below `/anthropic`.
 *
 * @throws the system's error (`EADDRINUSE`, `EACCES`) when the port cannot be had.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { port, models, now, onTokenRequest, deviceIntervalMs, deviceLifeMs, ...grantsOptions } = { ...SIMULATOR_DEFAULTS, ...options }
  const grants = new Grants({ ...grantsOptions, now })
  const codes = new AuthorizationCodes(now)
  const deviceCodes = new DeviceCodes({ lifeMs: deviceLifeMs, intervalMs: deviceIntervalMs, now })
  const faults = new FaultInjector()
  const requestCounts = new RequestCounts()
  const apiKeys = new Map<string, ApiKeyOptions>()
  const server = createServer(
    application({ grants, codes, deviceCodes, faults, counts: requestCounts, now, onTokenRequest, apiKeys, models }),
  )
  // Longer than any client keeps an idle connection: resets come from faults alone.
  server.keepAliveTimeout = 65_000
  await listen(server, port)
  let stopping: Promise<void> | undefined
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    grantFor: login => grants.login(login),
    authorizationCodeFor: request => codes.issue(request),
    addApiKey: (key, owner) => void apiKeys.set(key, owner),
    revoke: token => grants.revoke(token),
    expireAccess: account => grants.expireAccess(account),
    expireGrant: account => grants.expireGrant(account),
    inject: fault => faults.inject(fault),
    counts: () => requestCounts.counts(),
    tokenRequests: () => requestCounts.tokenRequests(),
    resetCounts: () => requestCounts.clear(),
    reset: () => {
      for (const part of [grants, codes, deviceCodes, faults, requestCounts, apiKeys]) part.clear()
    },
    stop: () => {
      stopping ??= close(server)
      return stopping
    },
  }
}

function application(context: TokenEndpointContext & ProviderEndpointContext): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.use(express.text({ type: () => true, limit: '64mb' }))
  for (const dialect of PROVIDER_QUIRKS) app.post(dialect.path, tokenEndpoint(dialect, context))
  for (const [dialect, path] of Object.entries(AUTHORIZE_PATHS))
    app.get(path, authorizePage(dialect as keyof typeof AUTHORIZE_PATHS, context.codes))
  addDeviceEndpoints(app, context)
  app.post(['/oauth/revoke', '/openai/oauth/revoke'], revocationEndpoint(context))
  for (const route of PROVIDER_ROUTES) app[route.method](route.path, providerEndpoint(route, context))
  app.use((request, response) => {
    response.status(404).json(openAiError(null, `Invalid URL (${request.method} ${request.path})`))
  })
  app.use(onError)
  return app
}

/** Token revocation (RFC 7009): an unknown token is not an error. Reads JSON too, as the Codex CLI sends it. */
function revocationEndpoint({ grants, faults, now }: TokenEndpointContext): RequestHandler {
  return async (request, response) => {
    const token = textField(readBody(request).fields ?? {}, 'token')
    const { account } = grants.standingOf(token)
    const userAgent = request.get('user-agent') ?? ''
    const effect = faults.take({ kind: 'other', path: request.path, account, userAgent })
    await deliver(response, effect, now, async () => {
      if (token === undefined) return { status: 400, body: rfcError('invalid_request', 'token is missing'), code: 'invalid_request' }
      grants.revoke(token)
      return { status: 200, body: {}, code: 'revoked' }
    })
  }
}

/** A body that cannot be read is the client's fault; anything else is the simulator's own and says so. */
const onError: ErrorRequestHandler = (error: { status?: number }, _request, response, _next) => {
  if (response.headersSent || response.destroyed) return void response.destroy()
  response.status(error.status ?? 500).json(openAiError('simulator_error', 'The simulator could not handle this request.'))
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
