import { randomInt, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  AuthorizationResponseError,
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  generateRandomNonce,
  generateRandomState,
  validateAuthResponse,
} from 'oauth4webapi'
import { configError, type GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { readErrorBody } from '../providers/error-body.ts'
import { isLoopbackUrl, type LoginEndpoints } from '../providers/provider.ts'
import { requestCodeGrant } from '../token-requests/code-grant.ts'
import type { OAuthParty } from '../token-requests/oauth-request.ts'
import type { GrantedAnswer } from '../token-requests/refresh-answer.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import { settledWithin } from '../tools/time-limit.ts'
import { exchange } from './code-exchange.ts'
import type { LoginContext } from './login-context.ts'
import { loginGivenUp, loginTooLate, OperationError } from './operation-record.ts'

/** What one login keeps to itself until its browser comes back. */
interface LoginSecrets {
  readonly state: string
  readonly codeVerifier: string
  readonly codeChallenge: string
  /** Absent where the provider sends none back. */
  readonly nonce?: string
}

/** Fresh secrets for one login. From here on nothing shows them but the URL that the browser opens. */
async function loginSecrets({ issuer, scopes, usesNonce }: LoginEndpoints): Promise<LoginSecrets> {
  const codeVerifier = generateRandomCodeVerifier()
  const state = generateRandomState()
  const nonce = usesNonce && issuer !== undefined && scopes.includes('openid') ? generateRandomNonce() : undefined
  for (const secret of [codeVerifier, state, nonce]) registerSecret(secret)
  return { state, codeVerifier, codeChallenge: await calculatePKCECodeChallenge(codeVerifier), ...(nonce !== undefined && { nonce }) }
}

/** The URL at which a user signs in. @see RFC 6749 section 4.1.1, RFC 7636 section 4.3 */
function authorizationUrl({ oauth }: OAuthParty, login: LoginEndpoints, secrets: LoginSecrets, redirectUrl: string): string {
  const url = new URL(login.authorizationUrl ?? '')
  const parameters = {
    ...login.authorizationParameters,
    response_type: 'code',
    client_id: oauth.clientId,
    redirect_uri: redirectUrl,
    ...(login.scopes.length > 0 && { scope: login.scopes.join(' ') }),
    state: secrets.state,
    ...(secrets.nonce !== undefined && { nonce: secrets.nonce }),
    code_challenge: secrets.codeChallenge,
    code_challenge_method: 'S256',
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url.href
}

/**
 * Checks what the browser brought back: state, issuer (RFC 9207), and whether it is a refusal.
 *
 * @throws {OperationError} `denied`, `refused`, or `unverified` when it does not belong to this login.
 */
function readRedirect({ server, client, provider }: OAuthParty, parameters: URLSearchParams, state: string): URLSearchParams {
  registerSecret(parameters.get('code') ?? undefined)
  try {
    return validateAuthResponse(server, client, parameters, state)
  } catch (error) {
    // Their cause is what the browser brought, code and all.
    if (error instanceof AuthorizationResponseError) throw refusedByPage(provider.id, error.error)
    const issuer = parameters.get('iss')
    const why =
      issuer !== null && issuer !== server.issuer
        ? `it names another issuer than expected; if that is the right one, set providers.${provider.id}.issuer`
        : 'its state is not the one that was sent'
    throw new OperationError(
      'unverified',
      'GW_LOGIN_FAILED',
      `what the browser brought back is not of this login: ${why}; nothing was stored`,
      {
        next: 'sign_in_again',
      },
    )
  }
}

function refusedByPage(providerId: string, error: string): OperationError {
  const { code } = readErrorBody({ status: 400, headers: {}, body: JSON.stringify({ error }) })
  return new OperationError(
    code === 'access_denied' ? 'denied' : 'refused',
    'GW_LOGIN_FAILED',
    `${providerId} refused the login (${code ?? 'no known code'}); nothing was stored`,
    {
      next: code === 'invalid_scope' || code === 'unauthorized_client' ? 'fix_configuration' : 'sign_in_again',
      ...(code !== undefined && { pageCode: code }),
    },
  )
}

/**
 * Parses what the user pasted: the URL at which the browser ended, its query alone, or the `code#state` that some providers show on
 * a page.
 *
 * @returns `undefined` when there is no code, and no refusal, in it.
 */
function readPasted(text: string): URLSearchParams | undefined {
  const pasted = text.trim().replace(/^["'<]+|["'>]+$/g, '')
  const parameters = parametersOf(pasted)
  if (parameters?.has('code') || parameters?.has('error')) return parameters
  const [, code, state] = /^([\w.~-]{8,})#([\w.~-]+)$/.exec(pasted) ?? []
  return code !== undefined && state !== undefined ? new URLSearchParams({ code, state }) : undefined
}

function parametersOf(pasted: string): URLSearchParams | undefined {
  const url = /^https?:\/\//i.test(pasted) ? URL.parse(pasted) : null
  if (url) return url.searchParams
  return /^\??[\w-]+=/.test(pasted) ? new URLSearchParams(pasted) : undefined
}

/** What a browser that comes back may be shown. */
type RedirectWord = 'on_its_way' | 'signed_in' | 'failed' | 'unknown_login' | 'elsewhere'

const PAGES: Readonly<Record<RedirectWord, { status: number; title: string; text: string }>> = {
  on_its_way: { status: 303, title: 'One moment', text: 'The login is being finished.' },
  signed_in: { status: 200, title: 'Back to the terminal', text: 'It says how the login ended. You can close this window.' },
  failed: { status: 200, title: 'The login did not succeed', text: 'The terminal says why. You can close this window.' },
  unknown_login: {
    status: 400,
    title: 'Not this login',
    text: 'This page does not belong to the login that is under way. Begin again in the terminal.',
  },
  elsewhere: { status: 404, title: 'Nothing here', text: 'A login is awaited at another address.' },
}

/**
 * Answers a browser that comes back from signing in. Fixed texts alone: nothing of the request is in the page, nothing of
 * it is kept or sent on by the browser.
 *
 * @param location Where the browser goes next.
 */
function redirectPage(response: ServerResponse, word: RedirectWord, location?: string): void {
  const { status, title, text } = PAGES[word]
  const body = `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Gatewatch</title>\n<h1>${title}</h1>\n<p>${text}</p>\n</html>\n`
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    connection: 'close',
    ...(location !== undefined && { location }),
  })
  response.end(body)
}

interface LoopbackRedirectOptions {
  /** Where the browser comes back: http on loopback. Without a port any free one is taken. */
  redirectUrl: string
  /** What a redirect of this login carries; one that carries another is not waited for. */
  state: string
  /** Notified of a redirect that is not of this login. */
  onUnknownLogin?: () => void
}

/** A browser is awaited on this machine. */
interface LoopbackRedirect {
  /** The redirect URL as the provider has to know it. */
  readonly url: string
  /** What the browser brought. @throws the signal's reason when it aborts. */
  redirected(signal: AbortSignal): Promise<URLSearchParams>
  /** Shows the person how it ended and closes the port. Can be called again. */
  finish(isSignedIn: boolean): Promise<void>
}

/** How long a browser that was sent to the last page may take to come for it. */
const LAST_PAGE_MS = 2_000
/** The clean address that the browser is sent on to: no code stays in its address bar or its history. */
const LAST_PATH = '/signed-in'

/**
 * Waits for the browser on loopback. The redirect itself is answered with another redirect, so that neither page nor
 * address bar ever shows the code; one that does not carry the state of this login is turned away and changes nothing.
 *
 * @throws {GatewayError} `GW_CONFIG` when the port the provider insists on is taken, or the URL is not on loopback.
 * @see RFC 8252 sections 7.3 and 8.3
 */
export async function awaitRedirect({ redirectUrl, state, onUnknownLogin = () => {} }: LoopbackRedirectOptions): Promise<LoopbackRedirect> {
  const wanted = new URL(redirectUrl)
  let bring: (parameters: URLSearchParams) => void = () => {}
  const brought = new Promise<URLSearchParams>(resolve => {
    bring = resolve
  })
  let reportEnd: (isSignedIn: boolean) => void = () => {}
  const ended = new Promise<boolean>(resolve => {
    reportEnd = resolve
  })
  let lastPageShown: () => void = () => {}
  const shown = new Promise<void>(resolve => {
    lastPageShown = resolve
  })
  let isSent = false

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    // What comes in here, its line and its headers, is never shown and never thrown.
    const url = URL.parse(request.url ?? '', 'http://loopback')
    if (request.method !== 'GET' || !url || !isHost(request.headers.host, wanted.hostname)) return redirectPage(response, 'elsewhere')
    if (url.pathname === LAST_PATH && isSent) {
      redirectPage(response, (await ended) ? 'signed_in' : 'failed')
      response.once('close', lastPageShown)
      return
    }
    if (url.pathname !== wanted.pathname) return redirectPage(response, 'elsewhere')
    if (!isSame(url.searchParams.get('state'), state)) {
      onUnknownLogin()
      return redirectPage(response, 'unknown_login')
    }
    isSent = true
    redirectPage(response, 'on_its_way', LAST_PATH)
    bring(url.searchParams)
  }
  const { servers, port } = await listen(wanted, answer)
  let closing: Promise<void> | undefined
  return {
    url: withPort(wanted, port),
    redirected: signal => untilAborted(brought, signal),
    finish: isSignedIn => {
      reportEnd(isSignedIn)
      closing ??= (isSent ? settledWithin(shown, LAST_PAGE_MS) : Promise.resolve()).then(() => close(servers))
      return closing
    },
  }
}

type Listener = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void

/** `localhost` is either of two addresses, and a browser may try any of them first. */
async function listen(wanted: URL, answer: Listener): Promise<{ servers: Server[]; port: number }> {
  const hosts = wanted.hostname === 'localhost' ? ['127.0.0.1', '::1'] : [wanted.hostname.replace(/^\[|\]$/g, '')]
  const servers: Server[] = []
  let port = Number(wanted.port)
  for (const host of hosts) {
    const server = createServer((request, response) => void answer(request, response))
    try {
      port = await open(server, host, port)
      servers.push(server)
    } catch (cause) {
      // A machine without IPv6 has no ::1; that the other address is there is enough.
      if (servers.length > 0 && (cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') continue
      close(servers)
      throw cannotListen(host, port, cause)
    }
  }
  return { servers, port }
}

function open(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}

function cannotListen(host: string, port: number, cause: unknown): GatewayError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
  const why =
    code === 'EADDRINUSE' ? `port ${port} is taken, perhaps by another login: end that one` : `${host}:${port} cannot be used (${code})`
  return configError(`the browser cannot come back here: ${why}, or sign in with --paste or --device`, cause)
}

function withPort(wanted: URL, port: number): string {
  const url = new URL(wanted)
  url.port = String(port)
  return url.href
}

/** Pages of other sites may know our port, and call it by a name of theirs. */
function isHost(given: string | undefined, hostname: string): boolean {
  return given?.replace(/:\d+$/, '') === hostname
}

function isSame(given: string | null, expected: string): boolean {
  const [one, other] = [Buffer.from(given ?? ''), Buffer.from(expected)]
  return one.length === other.length && timingSafeEqual(one, other)
}

/** Waits for `work`, and no longer than `signal` allows. @throws the signal's reason. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

function close(servers: readonly Server[]): void {
  for (const server of servers) {
    server.close()
    server.closeAllConnections()
  }
}

/** A person signs in, confirms by mail or phone, looks for the password: this long at most. */
const LIMIT_MS = 10 * 60_000

/**
 * Signs in with an authorization code and PKCE: the browser is redirected to this machine, or the user pastes the address at which
 * the browser ended.
 *
 * @throws {GatewayError} as `login`.
 */
export async function signInByBrowser(context: LoginContext): Promise<GrantedAnswer> {
  const secrets = await loginSecrets(context.login)
  const limit = AbortSignal.timeout(LIMIT_MS)
  const signal = AbortSignal.any([context.signal, limit])
  try {
    return await (context.method === 'paste' ? byPasting(context, secrets, signal) : byRedirect(context, secrets, signal))
  } catch (error) {
    if (isGatewayError(error) && !isGatewayError(error, 'GW_ABORTED')) throw error
    if (context.signal.aborted) throw loginGivenUp(context.signal.reason)
    throw limit.aborted ? loginTooLate(LIMIT_MS) : error
  }
}

async function byRedirect(context: LoginContext, secrets: LoginSecrets, signal: AbortSignal): Promise<GrantedAnswer> {
  const { party, login, prompts } = context
  if (!login.redirectUrl.startsWith('http://') || !isLoopbackUrl(login.redirectUrl)) {
    throw configError(`browsers of ${party.provider.id} do not come back to this machine: sign in with --paste`)
  }
  const redirect = await awaitRedirect({
    redirectUrl: login.redirectUrl,
    state: secrets.state,
    onUnknownLogin: () => prompts.note('a browser came back from another login; this one waits on'),
  })
  let isSignedIn = false
  try {
    prompts.show({ url: authorizationUrl(party, login, secrets, redirect.url), limitMs: LIMIT_MS })
    const brought = await redirect.redirected(signal)
    const answer = await exchangeBrought(context, secrets, brought, redirect.url)
    isSignedIn = true
    return answer
  } finally {
    await redirect.finish(isSignedIn)
  }
}

async function byPasting(context: LoginContext, secrets: LoginSecrets, signal: AbortSignal): Promise<GrantedAnswer> {
  const { party, login, prompts } = context
  const redirectUrl = unheardUrl(login.redirectUrl)
  prompts.show({ url: authorizationUrl(party, login, secrets, redirectUrl), limitMs: LIMIT_MS })
  for (;;) {
    const pasted = readPasted(await untilAborted(prompts.paste(signal), signal))
    if (!pasted) {
      prompts.note('there is no code in that: copy the whole address from the address bar, also of a page that says it cannot be reached')
      continue
    }
    if (pasted.get('state') === secrets.state) return exchangeBrought(context, secrets, pasted, redirectUrl)
    prompts.note('that address belongs to another login: open the page shown above and copy where it ends')
  }
}

async function exchangeBrought(
  context: LoginContext,
  secrets: LoginSecrets,
  brought: URLSearchParams,
  redirectUrl: string,
): Promise<GrantedAnswer> {
  const parameters = readRedirect(context.party, brought, secrets.state)
  const { codeVerifier, nonce, state } = secrets
  return exchange(context, options =>
    requestCodeGrant({
      ...options,
      parameters,
      redirectUrl,
      codeVerifier,
      ...(nonce !== undefined && { nonce }),
      ...(context.login.repeatsState && { state }),
    }),
  )
}

/** Where no server listens: a redirect URL without a port gets one, since the provider wants it to be whole. */
function unheardUrl(redirectUrl: string): string {
  const url = new URL(redirectUrl)
  if (url.protocol === 'http:' && url.port === '') url.port = String(randomInt(49_152, 65_536))
  return url.href
}
