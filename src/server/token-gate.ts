import type { Span } from '@opentelemetry/api'
import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response, Router } from 'express'
import {
  ATTR_CLIENT_PROCESS,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_REASON_DECLARED,
  ATTR_REPLAY,
  ATTR_REQUEST_CLIENT,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
} from '../../otel/semconv.ts'
import { type CallerSite, clientCaller } from '../domain/caller-site.ts'
import { isOAuth } from '../domain/credential.ts'
import { durationOf } from '../domain/duration-text.ts'
import type { RefreshReason } from '../domain/enums.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { Gateway } from '../gateway.ts'
import { configuredProviderOf } from '../load-settings.ts'
import type { Provider } from '../providers/provider.ts'
import type { AcquireRequest } from '../refresh/acquire.ts'
import { refuseAcquire } from '../refresh/acquire-record.ts'
import type { TokenOwnership } from '../refresh/token-ownership.ts'
import { activeSpan } from '../telemetry/telemetry.ts'
import { summarizeRequest } from '../token-requests/request-summary.ts'
import { clientName, UNKNOWN_CLIENT } from './client-name.ts'
import { type InboundKeys, isFromThisMachine } from './inbound-keys.ts'
import { keepSpanFor } from './request-span.ts'
import { answerRefusal, answerTokens, refusalOf } from './token-gate-answer.ts'
import { GuessLimit } from './token-gate-limit.ts'
import { PeerNames } from './token-gate-peer.ts'
import { readTokenRequest, reasonDeclared, type TokenGateRequest, type TokenRefusal } from './token-gate-request.ts'
import { TokenHolders } from './token-holders.ts'

const ROUTE = '/oauth/:provider/token'
/** With one of the gateway's keys: a client that is given a URL can seldom be given a header as well. */
const KEYED_ROUTE = `${ROUTE}/:key`
/** Tokens are short. */
const LONGEST_BODY = '256kb'

/** What all clients of the token endpoint gate share. */
interface Gatekeeper {
  readonly gateway: Gateway
  readonly holders: TokenHolders
  readonly guesses: GuessLimit
  readonly peers: PeerNames
}

/** One client at the token endpoint gate. */
interface Client extends Gatekeeper {
  readonly request: Request
  readonly response: Response
  readonly provider: Provider
  /** The span of the request. */
  readonly span: Span | undefined
}

/**
 * The token endpoint gate: clients that can be pointed at a token URL refresh here, and through the gate.
 *
 * A client shows the refresh token it holds. If a profile of that provider holds it too, or held it before, the client is
 * one more acquisition: it leads or joins a refresh, or gets what is there. No other caller gets anything, and nothing goes upstream
 * for a token that is not known. What the client gets are the real tokens: it goes on without the gateway, too.
 *
 * Where the gateway has keys, one of them must be shown as well, in a header or as the last segment of the path.
 *
 * @param peers Names the processes at the other ends of connections.
 */
export function tokenGate(gateway: Gateway, keys: InboundKeys, peers: PeerNames = new PeerNames()): Router {
  const router = Router()
  const gatekeeper = { gateway, holders: new TokenHolders(gateway), guesses: new GuessLimit(), peers }
  const readBody = express.text({ type: () => true, limit: LONGEST_BODY })
  const answer: RequestHandler = async (request, response) => {
    const provider = configuredProviderOf(gateway.registry, String(request.params.provider))
    if (!provider?.oauth) return answerRefusal(response, { ...NO_SUCH_PROVIDER, description: known(gateway) }, undefined)
    const client = { ...gatekeeper, request, response, provider, span: activeSpan() }
    try {
      await serve(client)
    } catch (error) {
      answerRefusal(response, refusalOf(error, undefined), provider.oauth.refusals)
    }
  }
  for (const route of [ROUTE, KEYED_ROUTE]) {
    router.post(route, requireHolder(keys), readBody, answer)
    router.all(route, requireHolder(keys), (_request, response) => {
      response.setHeader('allow', 'POST')
      answerRefusal(response, { status: 405, error: 'invalid_request', description: 'token requests are POST requests' }, undefined)
    })
    router.use(route, onUnreadable)
  }
  return router
}

/** What the body reader refuses: too large, cut off, badly compressed. */
const onUnreadable: ErrorRequestHandler = (cause: { status?: unknown }, _request, response, next) => {
  if (typeof cause.status !== 'number' || cause.status >= 500) return next(cause)
  answerRefusal(response, { status: cause.status, error: 'invalid_request', description: 'the body could not be read' }, undefined)
}

const NO_SUCH_PROVIDER = { status: 404, error: 'invalid_request' } as const

function known({ registry }: Gateway): string {
  const ids = registry.all().flatMap(({ id, oauth }) => (oauth ? [id] : []))
  return `no provider of that name has a token endpoint here; there are ${ids.join(', ')}`
}

/** Lets clients through with a key, or from this machine where there are no keys; no page, which could post a form. */
function requireHolder(keys: InboundKeys): RequestHandler {
  return (request, response, next) => {
    const { headers, params } = request
    const isOfPage = headers.origin !== undefined || !['none', 'same-origin', undefined].includes(headers['sec-fetch-site'] as string)
    const isAdmitted = keys.isRequired ? keys.admits(request) || keys.admitsKey(params.key) : isFromThisMachine(request)
    if (!isOfPage && isAdmitted) return next()
    const description = isOfPage
      ? 'a page in a browser may not ask for tokens here'
      : keys.isRequired
        ? "show one of the gateway's keys: as the last segment of the URL (/oauth/<provider>/token/<key>), as Bearer token or as x-api-key"
        : 'without listen.keysEnv the token endpoint gate answers only to this machine by a loopback name (127.0.0.1, localhost, [::1]), past no proxy'
    if (!isOfPage) response.setHeader('www-authenticate', 'Bearer realm="gatewatch"')
    answerRefusal(response, { status: isOfPage ? 403 : 401, error: 'invalid_client', description }, undefined)
  }
}

async function serve(client: Client): Promise<void> {
  const { gateway, guesses, request, response, provider, span } = client
  const refuse = (refusal: TokenRefusal) => answerRefusal(response, refusal, provider.oauth?.refusals)
  const body = typeof request.body === 'string' ? request.body : undefined
  const asked = readTokenRequest(request.headers['content-type'], body)
  span?.setAttribute(ATTR_PROVIDER, provider.id)
  if ('error' in asked) {
    // What a body holds is hidden from then on, and only so much can be: nonsense without end must not crowd out real tokens.
    if (guesses.take() === 0) noteShape(span, body)
    return refuse(asked)
  }
  const ownership = await holdingOf(client, asked.refresh)
  if (typeof ownership === 'number') return refuse(tooManyGuesses(ownership))
  noteShape(span, body)
  if (!ownership) return refuse(unknownToken(client))
  span?.setAttributes({
    [ATTR_PROFILE]: gateway.telemetry.profile(ownership.profile.id),
    ...(ownership.standing === 'former' && { [ATTR_REPLAY]: true }),
  })
  const answer = await answerFor(client, { asked, ownership, body })
  await client.peers.searched(request.socket)
  answer()
}

/** A request for the tokens of a profile. */
interface KnownRequest {
  readonly asked: TokenGateRequest
  readonly ownership: TokenOwnership
  readonly body: string | undefined
}

/** Acquires a token at the gate for a client. @returns What answers it. */
async function answerFor(client: Client, { asked, ownership, body }: KnownRequest): Promise<() => void> {
  const { gateway, response, provider } = client
  const refuse = (refusal: TokenRefusal) => () => answerRefusal(response, refusal, provider.oauth?.refusals)
  const caller = callerOf(client)
  if (isTooOld(gateway, ownership)) return refuse(tooOldToken(client, ownership, caller))
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  try {
    const acquireResult = await gateway.acquireToken({ ...acquisitionOf(gateway, asked, ownership, body), caller, signal: gone.signal })
    const { credential } = acquireResult.profile
    if (!isOAuth(credential)) throw new TypeError('the gate admitted a profile without OAuth credential')
    return () => answerTokens(response, credential, Date.now())
  } catch (error) {
    // It is gone itself, and hears nothing any more.
    if (isGatewayError(error, 'GW_ACQUIRE_ABORTED') && response.destroyed) return () => {}
    return refuse(refusalOf(error, await deadCodeOf(gateway, ownership.profile.id)))
  }
}

/**
 * The profile that holds or held the token. One that nobody knows is looked for in the store as well, so long as guesses are
 * left: the limit comes before anything that costs.
 *
 * @returns Milliseconds to wait where no guess is left.
 */
async function holdingOf(client: Client, refresh: string): Promise<TokenOwnership | number | undefined> {
  const { holders, guesses, provider } = client
  const known = await holders.find(refresh, provider.id)
  const retryAfterMs = known ? 0 : guesses.take()
  if (retryAfterMs > 0) return retryAfterMs
  lookForPeer(client)
  if (known) return known
  const found = await holders.findAnew(refresh, provider.id)
  if (found) guesses.giveBack()
  return found
}

function tooManyGuesses(retryAfterMs: number): TokenRefusal {
  return { status: 429, error: 'slow_down', description: 'too many tokens that no profile here holds or held', retryAfterMs }
}

/** Nobody held it here: the provider is not asked, for the answer would be tokens that no profile keeps. */
function unknownToken({ gateway, request, provider }: Client): TokenRefusal {
  const caller = clientCaller(clientName(request) ?? UNKNOWN_CLIENT)
  const [damaged] = gateway.profiles.damaged
  if (damaged) {
    // It may be the token of the profile that cannot be read: no reason to give a login up.
    refuseAcquire(gateway.telemetry, { provider: provider.id, profileId: UNKNOWN_PROFILE, caller, reason: 'unknown' }, damaged.error)
    return refusalOf(damaged.error, undefined)
  }
  const description = `no profile of ${provider.id} here holds or held this refresh token: sign in or import the profile in the gateway`
  const error = new GatewayError('GW_PROFILE_UNKNOWN', description, { next: 'add_profile' })
  refuseAcquire(gateway.telemetry, { provider: provider.id, profileId: UNKNOWN_PROFILE, caller, reason: 'unknown' }, error)
  return { status: 400, error: 'invalid_grant', description }
}

/** Rotated away for longer than somebody who is merely behind would hold it, or it is unknown when. */
function isTooOld({ rotationGraceMs }: Gateway, { standing, rotatedAwayAt = 0 }: TokenOwnership): boolean {
  return standing === 'former' && Date.now() - rotatedAwayAt >= rotationGraceMs
}

/** The current tokens are for those who share the login; a token that comes back late may have been copied long ago. */
function tooOldToken({ gateway, provider }: Client, { profile }: TokenOwnership, caller: CallerSite): TokenRefusal {
  const description = `this refresh token was rotated away more than ${durationOf(gateway.rotationGraceMs)} ago (gate.rotationGraceMs): take the current one, or sign in again`
  const error = new GatewayError('GW_UNAUTHORIZED', description, { next: 'sign_in_again' })
  refuseAcquire(gateway.telemetry, { provider: provider.id, profileId: profile.id, caller, reason: 'unknown' }, error)
  return { status: 400, error: 'invalid_grant', description }
}

const UNKNOWN_PROFILE = 'unknown'

/** The shape of what was sent; afterwards nothing shows what is secret in it. */
function noteShape(span: Span | undefined, body: string | undefined): void {
  const { encoding, fields, clientFingerprint, declaredReason } = summarizeRequest(body)
  span?.setAttributes({
    [ATTR_REQUEST_ENCODING]: encoding,
    [ATTR_REQUEST_FIELDS]: fields,
    ...(clientFingerprint && { [ATTR_REQUEST_CLIENT]: clientFingerprint }),
    ...(declaredReason && { [ATTR_REASON_DECLARED]: declaredReason }),
  })
}

/**
 * Begins to look for the process of the client, while everything else goes on. It is looked for in any case, since a client
 * may call itself anything, and now, since its connection is open now; the span has the name whenever it is found.
 */
function lookForPeer({ request, response, peers, span }: Client): void {
  const named = peers.find(request.socket).then(process => {
    if (process !== undefined) span?.setAttribute(ATTR_CLIENT_PROCESS, process)
  })
  keepSpanFor(response, named)
}

/** The client by its name, else by the process of its connection where that is known by now. */
function callerOf({ request, peers }: Client): CallerSite {
  const known = peers.known(request.socket)
  return clientCaller(clientName(request) ?? (known === undefined ? UNKNOWN_CLIENT : `client:${known}`))
}

function acquisitionOf(
  { gate }: Gateway,
  { refresh, declared }: TokenGateRequest,
  { profile, standing }: TokenOwnership,
  body: string | undefined,
): Pick<AcquireRequest, 'profileId' | 'reason' | 'held' | 'declaredReason'> & { rejected?: string } {
  const held = fingerprint(refresh)
  const { declaredReason } = summarizeRequest(body)
  const reason = reasonOf(gate.needs(profile), declared, standing)
  // Who holds the newest refresh token holds the newest access token, and that is the one that was rejected.
  const rejected = reason === 'rejected' && standing === 'current' && isOAuth(profile.credential) ? profile.credential.access : undefined
  return { profileId: profile.id, reason, ...(held && { held }), ...(declaredReason && { declaredReason }), ...(rejected && { rejected }) }
}

/**
 * Why the client comes: what is known of the token first, then what it says itself. Only it can know of a rejection. Of a
 * client that is behind nobody knows in what state its old access token is.
 */
function reasonOf(
  need: RefreshReason | undefined,
  declared: TokenGateRequest['declared'],
  standing: TokenOwnership['standing'],
): RefreshReason {
  const said = declared && reasonDeclared(declared)
  if (said === 'rejected') return said
  if (need) return need
  if (standing === 'former') return said ?? 'unknown'
  return said === 'scheduled' ? said : 'forced'
}

/** The provider's own code for a grant that is dead, where it gave one. */
async function deadCodeOf({ gate }: Gateway, profileId: string): Promise<string | undefined> {
  const profile = await gate.current(profileId).catch(() => undefined)
  return profile?.needsLogin?.providerCode
}
