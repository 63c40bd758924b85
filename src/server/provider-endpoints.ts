import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Request, Router } from 'express'
import type { CallEnd, CallRefusal, CallRequest, CallSink, Served } from '../calls/call-request.ts'
import { returnedHeaders, sentHeaders } from '../calls/passed-headers.ts'
import { clientCaller } from '../domain/caller-site.ts'
import type { Protocol } from '../domain/enums.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import type { Gateway } from '../gatewatch/gateway.ts'
import { replaceMember, scanMembers, scannedString, scannedTrue } from '../tools/json-object.ts'
import type { OpenItems } from '../tools/open-items.ts'
import { clientName, UNKNOWN_CLIENT } from './client-name.ts'
import { answerError } from './error-answer.ts'
import { type InboundBodyOptions, readInboundBody } from './inbound-body.ts'
import { type InboundRequest, inboundPathOf } from './inbound-request.ts'
import { ResponseSink } from './response-sink.ts'

interface ProviderEndpointsOptions extends InboundBodyOptions {
  slowClientMs: number
  /** Holds the calls that are not answered yet, for a caller that wants to give them up. */
  underWay: OpenItems<AbortController>
}

const ROUTES: Readonly<Record<string, Protocol>> = {
  '/v1/responses': 'responses',
  '/v1/chat/completions': 'chat_completions',
  '/v1/messages': 'messages',
}
const MODELS_ROUTE = '/v1/models'
/** What there is, as an answer names it. */
const ENDPOINTS = [...Object.keys(ROUTES).map(path => `POST ${path}`), `GET ${MODELS_ROUTE}`].join(', ')

/** What of a request body the gateway has to know. */
interface Addressed {
  readonly model: string
  readonly stream: boolean
  readonly body: Buffer
  readonly provider?: string
}

/** Answers one request for a provider call. Never rejects. */
type CallHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/** What answers the provider calls, by path. */
export function callHandlers(gateway: Gateway, options: ProviderEndpointsOptions): ReadonlyMap<string, CallHandler> {
  const handlerOf =
    (protocol: Protocol): CallHandler =>
    async (request, response) => {
      try {
        const body = await readInboundBody(request, response, options)
        await serve(gateway, request, response, { protocol, ...addressOf(gateway, body) }, options)
      } catch (error) {
        answerError(response, error, { protocol })
      }
    }
  return new Map(Object.entries(ROUTES).map(([path, protocol]) => [path, handlerOf(protocol)]))
}

/** The endpoints that clients of OpenAI and Anthropic know: calls go through profiles, gate and fallback. */
export function providerEndpoints(gateway: Gateway, handlers: ReadonlyMap<string, CallHandler>, options: ProviderEndpointsOptions): Router {
  const router = Router()
  for (const [path, protocol] of Object.entries(ROUTES)) {
    router.post(path, (request, response) => handlers.get(path)?.(request, response))
    router.get(path, (request, response, next) => {
      if (asksForWebSocket(request)) refuseWebSocket(response, protocol)
      else next()
    })
  }
  router.get(MODELS_ROUTE, async (request, response) => {
    try {
      await serve(
        gateway,
        request,
        response,
        { protocol: 'models', speaking: languageOf(request), model: '', stream: false, query: queryOf(request) },
        options,
      )
    } catch (error) {
      answerError(response, error)
    }
  })
  router.use('/v1', (request, response) => {
    const message = `there is no such endpoint; below /v1 there are: ${ENDPOINTS}`
    // A route that let it pass is not the one that answers: telemetry knows it as unmatched.
    request.route = undefined
    const protocol = Object.entries(ROUTES).find(([path]) => `${request.baseUrl}${request.path}`.startsWith(path))?.[1]
    answerError(response, new GatewayError('GW_BAD_REQUEST', message, { next: 'fix_request' }), { protocol, status: 404 })
  })
  return router
}

function asksForWebSocket({ headers }: Request): boolean {
  return (headers.upgrade ?? '').split(',').some(wanted => wanted.trim().toLowerCase() === 'websocket')
}

/**
 * The Codex CLI tries a WebSocket first where its settings allow one. 426 alone sends it on to HTTP at once; after any
 * other status it tries six times more.
 *
 * @see RFC 9110 section 15.5.22
 */
function refuseWebSocket(response: ServerResponse, protocol: Protocol): void {
  const message =
    'this endpoint is asked by POST and answers with JSON or server-sent events, not over a WebSocket; the Codex CLI goes on by HTTP, and spares the try with a model provider of its own that says supports_websockets = false'
  response.setHeader('upgrade', 'HTTP/1.1')
  response.setHeader('connection', 'upgrade, close')
  answerError(response, new GatewayError('GW_BAD_REQUEST', message, { next: 'fix_request' }), { protocol, status: 426 })
}

/** The language a client reads a listing of models in. The Codex CLI asks with its version, and reads ChatGPT's. */
function languageOf({ headers, query }: Request): Protocol {
  if ('anthropic-version' in headers) return 'messages'
  return 'client_version' in query ? 'responses' : 'chat_completions'
}

/** The wire language of a request by its path; `undefined` off the provider endpoints. */
export function protocolOf(request: Pick<InboundRequest, 'originalUrl' | 'url'>): Protocol | undefined {
  return ROUTES[inboundPathOf(request)]
}

async function serve(
  gateway: Gateway,
  request: IncomingMessage,
  response: ServerResponse,
  call: Omit<CallRequest, 'caller' | 'headers' | 'signal'>,
  { slowClientMs, underWay }: ProviderEndpointsOptions,
): Promise<void> {
  const gone = new AbortController()
  const open = underWay.add(gone)
  response.on('close', () => {
    underWay.remove(open)
    if (!response.writableFinished) gone.abort()
  })
  const sink: CallSink = new ResponseSink(response, slowClientMs)
  const end = await gateway.calls.call(
    { ...call, caller: clientCaller(clientName(request) ?? UNKNOWN_CLIENT), headers: sentHeaders(request.headers), signal: gone.signal },
    sink,
  )
  if (end.type === 'failed') refuse(response, end, call.protocol)
  else if (end.type === 'aborted' && !response.destroyed) answerError(response, stopping(), { protocol: call.protocol })
}

/** The call was given up, but not by the client: it waits and must hear of it. */
export function stopping(): GatewayError {
  return new GatewayError('GW_CLOSED', 'the gateway stops; the call was given up', { next: 'try_again_later' })
}

function refuse(
  response: ServerResponse,
  { error, traceId, refusal, served }: Extract<CallEnd, { type: 'failed' }>,
  protocol: Protocol,
): void {
  if (refusal && served && concernsClient(refusal)) relay(response, refusal, served)
  else answerError(response, error, { protocol, traceId })
}

/**
 * Whether a provider's refusal is the client's business. That a credential of ours was refused is not: passed on as 401
 * it would send the client looking for a fault in its own key.
 */
function concernsClient({ status, cut }: CallRefusal): boolean {
  return !cut && ![401, 402, 403].includes(status)
}

function relay(response: ServerResponse, { status, headers, body }: CallRefusal, served: Served): void {
  const { 'content-length': _length, ...returned } = returnedHeaders(headers, served)
  response.writeHead(status, { ...returned, 'content-length': String(body.length) })
  response.end(body)
}

/** @throws {GatewayError} `GW_BAD_REQUEST` when the body is no JSON object, names no model, or names it or the stream flag twice. */
function addressOf(gateway: Gateway, bytes: Buffer): Addressed {
  const peeked = scanMembers(bytes, ['model', 'stream'])
  if (!peeked) throw new GatewayError('GW_BAD_REQUEST', 'the body is not a JSON object', { next: 'fix_request' })
  const { members, ambiguous } = peeked
  if (ambiguous.length > 0) {
    const message = `the body holds ${ambiguous.map(name => `"${name}"`).join(' and ')} more than once, or in another case: parsers differ in which one they take; send each once, in lower case`
    throw new GatewayError('GW_BAD_REQUEST', message, { next: 'fix_request' })
  }
  const named = members.get('model')
  const model = scannedString(bytes, named)
  if (!named || !model)
    throw new GatewayError('GW_BAD_REQUEST', 'the body names no model: "model" must be a string', { next: 'fix_request' })
  const stream = scannedTrue(bytes, members.get('stream'))
  const slash = model.indexOf('/')
  const provider = model.slice(0, slash)
  if (slash <= 0 || !gateway.registry.all().some(({ id }) => id === provider)) return { model, stream, body: bytes }
  const rest = model.slice(slash + 1)
  return { model: rest, stream, provider, body: replaceMember(bytes, named, rest) }
}

function queryOf({ originalUrl }: Request): string {
  const at = originalUrl.indexOf('?')
  return at < 0 ? '' : originalUrl.slice(at)
}
