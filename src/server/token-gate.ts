import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response, Router } from 'express'
import { type CallerSite, clientCaller } from '../domain/caller-site.ts'
import { isOAuth, type OAuthCredential, type StoredProfile } from '../domain/credential.ts'
import { durationOf } from '../domain/duration-text.ts'
import type { RefreshReason } from '../domain/enums.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { errorType, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { Gateway } from '../gatewatch/gateway.ts'
import type { OAuthEndpoints, Provider } from '../providers/provider.ts'
import type { AcquireRequest } from '../refresh/acquire.ts'
import { refuseAcquire } from '../refresh/acquire-record.ts'
import { findOwnership, type TokenOwnership } from '../refresh/token-ownership.ts'
import { configuredProviderOf } from '../settings/load-settings.ts'
import { summarizeRequest, valueClassOf } from '../token-requests/request-summary.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { isJsonObject } from '../tools/json-object.ts'
import { clientName, UNKNOWN_CLIENT } from './client-name.ts'
import { keepPrivate } from './error-answer.ts'
import { type InboundKeys, isFromThisMachine } from './inbound-keys.ts'
import { keepOpenFor, noteInbound } from './request-span.ts'
import { PeerNames } from './token-gate-peer.ts'

/** How many unknown tokens are looked up in a row, and the time until one more is. */
const MOST = 10
const ANOTHER_EVERY_MS = 10_000

/**
 * Limits how many unknown tokens are looked up in the store and recorded one by one. A client with a known token is not limited by
 * the guesses of another caller, which could otherwise lock it out. Only a token that another process issued within the last second
 * may have to be sent again.
 */
export class GuessLimit {
  readonly #clock: Clock
  #left = MOST
  #countedAt: number

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
    this.#countedAt = clock.monotonic()
  }

  /** Gives one back: it was no guess. */
  giveBack(): void {
    this.#left = Math.min(MOST, this.#left + 1)
  }

  /** Takes one. @returns Milliseconds to wait when there is none left, else 0. */
  take(): number {
    const now = this.#clock.monotonic()
    const more = Math.floor((now - this.#countedAt) / ANOTHER_EVERY_MS)
    if (more > 0) {
      this.#left = Math.min(MOST, this.#left + more)
      this.#countedAt += more * ANOTHER_EVERY_MS
    }
    if (this.#left === 0) return this.#countedAt + ANOTHER_EVERY_MS - now
    this.#left -= 1
    return 0
  }
}

/** What a client asks of the token endpoint gate. */
interface TokenGateRequest {
  /** The refresh token it shows. */
  readonly refresh: string
  /** `refresh_reason`, as the Codex CLI sends it: why the client itself says it refreshes. */
  readonly declared: DeclaredReason | undefined
}

/** A refusal by RFC 6749 section 5.2. */
interface TokenRefusal {
  readonly status: number
  readonly error:
    | 'invalid_request'
    | 'invalid_client'
    | 'invalid_grant'
    | 'unsupported_grant_type'
    | 'slow_down'
    | 'temporarily_unavailable'
  /** What is wrong and what to do; in ASCII, as the RFC wants it. */
  readonly description: string
  readonly retryAfterMs?: number
  /** The provider's own code, where its answer is what is passed on. */
  readonly providerCode?: string
}

/** What the Codex CLI declares, and the reason of ours that it stands for. */
const DECLARED = {
  proactive_expiry: 'expired',
  unauthorized_recovery: 'rejected',
  scheduled: 'scheduled',
  forced: 'forced',
} as const satisfies Record<string, RefreshReason>
type DeclaredReason = keyof typeof DECLARED

/**
 * Reads a token request: a form (RFC 6749 section 6), or JSON as the Codex CLI and Anthropic's clients send it.
 *
 * @param body What came, as text; `undefined` when nothing could be read.
 */
function readTokenRequest(contentType: string | undefined, body: string | undefined): TokenGateRequest | TokenRefusal {
  const fields = fieldsOf(contentType?.split(';')[0]?.trim().toLowerCase(), body ?? '')
  if (typeof fields === 'string') return refusal('invalid_request', fields)
  const { grant_type: grantType, refresh_token: given, refresh_reason: declared } = fields
  if (typeof grantType !== 'string' || grantType === '') return refusal('invalid_request', 'grant_type is missing')
  if (grantType !== 'refresh_token') {
    return refusal('unsupported_grant_type', 'this gate only refreshes: grant_type must be refresh_token; sign in at the provider itself')
  }
  const refresh = typeof given === 'string' ? given.trim() : ''
  if (refresh === '') return refusal('invalid_request', 'refresh_token is missing or empty')
  if (valueClassOf(refresh).startsWith('literal:')) {
    return refusal('invalid_request', 'refresh_token holds no token but the text that a program made of a missing one')
  }
  return { refresh, declared: typeof declared === 'string' && isDeclared(declared) ? declared : undefined }
}

/** The reason of ours that a declared one stands for. */
function reasonDeclared(declared: DeclaredReason): RefreshReason {
  return DECLARED[declared]
}

function isDeclared(reason: string): reason is DeclaredReason {
  return Object.hasOwn(DECLARED, reason)
}

/** The fields of the body, or what is wrong with it. */
function fieldsOf(contentType: string | undefined, body: string): Record<string, unknown> | string {
  if (contentType === 'application/json') return readJson(body)
  if (contentType === 'application/x-www-form-urlencoded') return readForm(body)
  return 'the body must be application/x-www-form-urlencoded or application/json'
}

function readJson(body: string): Record<string, unknown> | string {
  try {
    const parsed: unknown = JSON.parse(body)
    return isJsonObject(parsed) ? parsed : 'the body is not a JSON object'
  } catch {
    return 'the body is not JSON'
  }
}

/** A parameter that stands there twice is refused (RFC 6749 section 3.2): which one holds would be a guess. */
function readForm(body: string): Record<string, unknown> | string {
  const form = new URLSearchParams(body)
  const names = [...form.keys()]
  return new Set(names).size === names.length ? Object.fromEntries(form) : 'a parameter stands in the body twice'
}

function refusal(error: TokenRefusal['error'], description: string): TokenRefusal {
  return { status: 400, error, description }
}

/**
 * Answers with the tokens of a credential, in the words of RFC 6749 section 5.1 with the id token of OpenID Connect.
 *
 * @param now Epoch milliseconds; what is left of the access token's life is counted from here.
 */
function answerTokens(response: Response, { access, refresh, idToken, scope, expiresAt }: OAuthCredential, now: number): void {
  keepFromCaches(response).json({
    access_token: access,
    token_type: 'Bearer',
    ...(expiresAt !== undefined && { expires_in: Math.max(0, Math.floor((expiresAt - now) / 1000)) }),
    ...(refresh && { refresh_token: refresh }),
    ...(idToken && { id_token: idToken }),
    ...(scope && { scope }),
  })
}

/**
 * Answers with a refusal: as RFC 6749 section 5.2 has it, or as clients of OpenAI read it. Those take a 401 for a login
 * that is gone, and everything else for something that may pass.
 */
function answerRefusal(response: Response, refusal: TokenRefusal, dialect: OAuthEndpoints['refusals']): void {
  const { error, description, status, retryAfterMs, providerCode } = refusal
  if (retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000))
  keepFromCaches(response)
  if (dialect === 'openai') {
    const isGone = error === 'invalid_grant' && providerCode !== undefined
    const body = { message: description, type: 'invalid_request_error', param: null, code: providerCode ?? error }
    response.status(isGone ? 401 : status).json({ error: body })
  } else response.status(status).json({ error, error_description: description })
}

/**
 * What an acquisition that failed says to a token client: `invalid_grant` when only a new login helps, else that it may pass.
 *
 * @param deadCode The provider's own code for a grant that is dead, where it gave one.
 */
function refusalOf(failure: unknown, deadCode: string | undefined): TokenRefusal {
  if (isGatewayError(failure, 'GW_NEEDS_LOGIN')) {
    return {
      status: 400,
      error: 'invalid_grant',
      description: ascii(failure.message),
      providerCode: deadCode ?? 'refresh_token_invalidated',
    }
  }
  const isThrottled = isGatewayError(failure) && failure.outcome === 'throttled'
  return {
    status: isThrottled ? 429 : 503,
    error: isThrottled ? 'slow_down' : 'temporarily_unavailable',
    description: isGatewayError(failure) ? ascii(failure.message) : `the gateway failed (${errorType(failure)}); its telemetry says where`,
    retryAfterMs: (isGatewayError(failure) ? failure.retryAfterMs : undefined) ?? RETRY_AFTER_MS,
  }
}

/** Without `retry-after` a client may try again at once. */
const RETRY_AFTER_MS = 1_000

/** RFC 6749 section 5.1: no cache may keep what holds tokens; nor is a refusal one to be kept. */
function keepFromCaches(response: Response): Response {
  keepPrivate(response)
  return response.setHeader('pragma', 'no-cache')
}

/** RFC 6749 section 5.2: printable ASCII without quotation mark and backslash. */
function ascii(text: string): string {
  return text.replace(/["\\]/g, "'").replace(/[^\x20-\x7e]/g, '?')
}

/** Finds the profile whose refresh token a client shows. What it costs does not grow with the profiles there are. */
class TokenHolders {
  readonly #gateway: Pick<Gateway, 'profiles' | 'gate'>

  constructor(gateway: Pick<Gateway, 'profiles' | 'gate'>) {
    this.#gateway = gateway
  }

  /** Who holds or held it, by a listing that is a second old at most, and by what this process rotated since. */
  async find(refresh: string, providerId: string): Promise<TokenOwnership | undefined> {
    return this.#among(await this.#gateway.profiles.list(), refresh, providerId)
  }

  /** As `find`, with the profiles read again: another process may have rotated the token a moment ago. */
  async findAnew(refresh: string, providerId: string): Promise<TokenOwnership | undefined> {
    return this.#among(await this.#gateway.profiles.listAnew(), refresh, providerId)
  }

  async #among(listed: readonly StoredProfile[], refresh: string, providerId: string): Promise<TokenOwnership | undefined> {
    const { lineage } = this.#gateway.gate
    const token = fingerprint(refresh) ?? ''
    // The second knows of a token that the store could not take, too.
    const ids = new Set([...lineage.holders(token), lineage.of(token)?.profileId])
    const found = listed.filter(({ id, provider, credential }) => ids.has(id) && provider === providerId && isOAuth(credential))
    return findOwnership(await Promise.all(found.map(profile => this.#gateway.profiles.current(profile))), refresh)
  }
}

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
    const client = { ...gatekeeper, request, response, provider }
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
    if (isOfPage) return answerRefusal(response, PAGE_REFUSED, undefined)
    const isAdmitted = keys.isRequired ? keys.admits(request) || keys.admitsKey(params.key) : isFromThisMachine(request)
    if (isAdmitted) return next()
    response.setHeader('www-authenticate', 'Bearer realm="gatewatch"')
    answerRefusal(response, keys.isRequired ? KEY_MISSING : NOT_THIS_MACHINE, undefined)
  }
}

const PAGE_REFUSED = { status: 403, error: 'invalid_client', description: 'a page in a browser may not ask for tokens here' } as const
const KEY_MISSING = {
  status: 401,
  error: 'invalid_client',
  description:
    "show one of the gateway's keys: as the last segment of the URL (/oauth/<provider>/token/<key>), as Bearer token or as x-api-key",
} as const
const NOT_THIS_MACHINE = {
  status: 401,
  error: 'invalid_client',
  description:
    'without listen.keysEnv the token endpoint gate answers only to this machine by a loopback name (127.0.0.1, localhost, [::1]), past no proxy',
} as const

async function serve(client: Client): Promise<void> {
  const { gateway, guesses, request, response, provider } = client
  const refuse = (refusal: TokenRefusal) => answerRefusal(response, refusal, provider.oauth?.refusals)
  const body = typeof request.body === 'string' ? request.body : undefined
  const asked = readTokenRequest(request.headers['content-type'], body)
  noteInbound(response, { provider: provider.id })
  if ('error' in asked) {
    // What a body holds is hidden from then on, and only so much can be: nonsense without end must not crowd out real tokens.
    if (guesses.take() === 0) noteShape(response, body)
    return refuse(asked)
  }
  const ownership = await holdingOf(client, asked.refresh)
  if (typeof ownership === 'number') return refuse(tooManyGuesses(ownership))
  noteShape(response, body)
  if (!ownership) return refuse(unknownToken(client))
  noteInbound(response, {
    profile: gateway.telemetry.profile(ownership.profile.id),
    replay: ownership.standing === 'former' || undefined,
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
 * The profile that holds or held the token. An unknown token is looked up in the store as long as guesses are left: the limit is
 * checked before anything expensive.
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

/** No profile here held it: the provider is not asked, since no profile would store the tokens of its answer. */
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

/** Rotated away longer ago than a client that is merely behind would hold it, or at an unknown time. */
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
function noteShape(response: Response, body: string | undefined): void {
  const { encoding, fields, clientFingerprint, declaredReason } = summarizeRequest(body)
  noteInbound(response, {
    requestEncoding: encoding,
    requestFields: fields,
    requestClientFingerprint: clientFingerprint,
    reasonDeclared: declaredReason,
  })
}

/**
 * Begins to look for the process of the client, while everything else goes on. It is looked for in any case, since a client
 * may call itself anything, and now, since its connection is open now; the event has the name whenever it is found.
 */
function lookForPeer({ request, response, peers }: Client): void {
  const named = peers.find(request.socket).then(process => {
    if (process !== undefined) noteInbound(response, { clientProcess: process })
  })
  keepOpenFor(response, named)
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
 * The refresh reason of the client: first what is known of the token, then what the client declares. Only the client can know of a
 * rejection. For a client that is behind, the state of its old access token is unknown.
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
