import { createHash, randomBytes, randomInt } from 'node:crypto'
import type { Express, Request, RequestHandler, Response } from 'express'
import type { GrantOptions } from './grants.ts'
import { ISSUER } from './grants.ts'
import { openAiError, readBody, rfcError, textField } from './http-exchange.ts'

/** A page without script and style, so that a test can read it like a user. */
function browserPage(title: string, body: string): string {
  return `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>${escaped(title)}</title>\n<h1>${escaped(title)}</h1>\n${body}\n</html>\n`
}

/** A form that asks for the account to sign in with and repeats `fields`. */
function signInForm(fields: Iterable<readonly [string, string]>, asked: readonly string[] = ['account']): string {
  const hidden = [...fields].map(([name, value]) => `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`)
  const inputs = asked.map(name => `<label>${escaped(name)} <input name="${escaped(name)}" required></label>`)
  return `<form method="get">\n${[...hidden, ...inputs].join('\n')}\n<button>Sign in</button>\n<button name="deny" value="1" formnovalidate>Refuse</button>\n</form>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}

/** What an authorization code is issued for: the parameters of the browser's request. */
export interface AuthorizationCodeOptions extends GrantOptions {
  /** PKCE challenge, method S256 (RFC 7636); without it no verifier is asked for. */
  codeChallenge?: string
  /** If given, the exchange must repeat it. */
  redirectUri?: string
  /** Life of the code, in ms. @default 600_000 */
  codeLifeMs?: number
}

/** What the client sends to exchange a code. */
interface CodeRedemption {
  readonly code: string | undefined
  readonly verifier: string | undefined
  readonly redirectUri: string | undefined
  readonly clientId: string | undefined
}

/** Issued authorization codes: single use, short-lived. */
export class AuthorizationCodes {
  readonly #codes = new Map<string, AuthorizationCodeOptions & { readonly goodUntil: number }>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  issue(options: AuthorizationCodeOptions): string {
    const code = `ac_${randomBytes(16).toString('base64url')}`
    this.#codes.set(code, { ...options, goodUntil: this.#now() + (options.codeLifeMs ?? 600_000) })
    return code
  }

  accountOf(code: string | undefined): string | undefined {
    return this.#codes.get(code ?? '')?.account
  }

  /** @returns The login of the code, or `undefined` if it must not be exchanged. The code is used up either way. */
  redeem({ code, verifier, redirectUri, clientId }: CodeRedemption): GrantOptions | undefined {
    const issued = this.#codes.get(code ?? '')
    if (!issued) return undefined
    this.#codes.delete(code ?? '')
    const { goodUntil, codeChallenge, redirectUri: expectedRedirect, codeLifeMs: _, ...login } = issued
    if (goodUntil <= this.#now()) return undefined
    if (codeChallenge !== undefined && challengeOf(verifier ?? '') !== codeChallenge) return undefined
    if (expectedRedirect !== undefined && redirectUri !== expectedRedirect) return undefined
    if (login.clientId !== undefined && clientId !== login.clientId) return undefined
    return login
  }

  clear(): void {
    this.#codes.clear()
  }
}

/** The S256 challenge of a verifier (RFC 7636 section 4.2). */
export function challengeOf(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url')
}

/** Where a browser signs in, by the provider whose tokens it gets. */
export const AUTHORIZE_PATHS = {
  openai: '/openai/oauth/authorize',
  anthropic: '/anthropic/oauth/authorize',
  plain: '/oauth/authorize',
} as const

const PROVIDERS: Readonly<Record<keyof typeof AUTHORIZE_PATHS, string>> = {
  openai: 'openai-codex',
  anthropic: 'anthropic',
  plain: 'simulated',
}

/**
 * The page at which a user signs in: with `account` in the query it redirects the browser with a code, with `deny` with an error;
 * otherwise it shows a form.
 */
export function authorizePage(dialect: keyof typeof AUTHORIZE_PATHS, codes: AuthorizationCodes): RequestHandler {
  return (request, response) => {
    const parameters = queryOf(request)
    const redirectUri = parameters.get('redirect_uri')
    if (parameters.get('response_type') !== 'code' || !redirectUri || !URL.canParse(redirectUri)) {
      // An invalid request is not redirected: the redirect URI cannot be trusted (RFC 6749 section 4.1.2.1).
      response.status(400).type('html').send(browserPage('Invalid sign-in request', ''))
      return
    }
    if (parameters.has('deny')) return sendBack(response, redirectUri, parameters, { error: 'access_denied' })
    const account = parameters.get('account')
    if (!account) {
      response.type('html').send(browserPage(`Sign in at the simulated ${PROVIDERS[dialect]}`, signInForm(parameters)))
      return
    }
    const [scope, nonce, codeChallenge] = ['scope', 'nonce', 'code_challenge'].map(name => parameters.get(name) ?? undefined)
    const code = codes.issue({
      provider: PROVIDERS[dialect],
      account,
      redirectUri,
      clientId: parameters.get('client_id') ?? '',
      ...(scope !== undefined && { scope }),
      ...(nonce !== undefined && { nonce }),
      ...(codeChallenge !== undefined && { codeChallenge }),
    })
    sendBack(response, redirectUri, parameters, { code })
  }
}

function sendBack(response: Response, redirectUri: string, parameters: URLSearchParams, brought: Record<string, string>): void {
  const url = new URL(redirectUri)
  const state = parameters.get('state')
  for (const [name, value] of Object.entries({ ...brought, ...(state !== null && { state }), iss: ISSUER }))
    url.searchParams.set(name, value)
  response.redirect(302, url.href)
}

/** The query as texts; Express would parse it into objects. */
function queryOf(request: Request): URLSearchParams {
  return new URL(request.originalUrl, 'http://simulator').searchParams
}

/** A device code that is not yet entered on the other device. */
interface DeviceCodeIssued {
  readonly deviceCode: string
  readonly userCode: string
  readonly clientId: string
  readonly scope: string | undefined
  readonly goodUntil: number
}

/** State of a device code. */
export type DeviceStanding =
  | { readonly type: 'pending' | 'slow_down' | 'denied' | 'expired' | 'unknown' }
  | { readonly type: 'entered'; readonly account: string; readonly issued: DeviceCodeIssued }

interface DeviceCodesOptions {
  /** Life of a code, in ms. */
  lifeMs: number
  /** Least time between two polls, in ms. */
  intervalMs: number
  now: () => number
}

/** As RFC 8628 section 6.1 recommends: no vowels, no letters that look alike. */
const LETTERS = 'BCDFGHJKLMNPQRSTVWXZ'

/** Issued device codes: entered once, fetched once. */
export class DeviceCodes {
  readonly intervalMs: number
  readonly lifeMs: number
  readonly #now: () => number
  readonly #codes = new Map<string, DeviceCodeIssued>()
  readonly #entered = new Map<string, { readonly account: string | undefined }>()
  readonly #askedAt = new Map<string, number>()

  constructor({ lifeMs, intervalMs, now }: DeviceCodesOptions) {
    this.lifeMs = lifeMs
    this.intervalMs = intervalMs
    this.#now = now
  }

  issue(clientId: string, scope?: string): DeviceCodeIssued {
    const letters = Array.from({ length: 8 }, () => LETTERS[randomInt(LETTERS.length)])
    const issued = {
      deviceCode: `dc_${randomBytes(24).toString('base64url')}`,
      userCode: `${letters.slice(0, 4).join('')}-${letters.slice(4).join('')}`,
      clientId,
      scope,
      goodUntil: this.#now() + this.lifeMs,
    }
    this.#codes.set(issued.deviceCode, issued)
    return issued
  }

  /** The user enters the code. @param account The account; `undefined` if the user refuses. @returns false for an unknown code. */
  enter(userCode: string, account: string | undefined): boolean {
    const issued = [...this.#codes.values()].find(code => code.userCode === userCode)
    if (!issued || issued.goodUntil <= this.#now()) return false
    this.#entered.set(issued.deviceCode, { account })
    return true
  }

  /** The device polls. An entered code is used up by the answer. */
  ask(deviceCode: string): DeviceStanding {
    const issued = this.#codes.get(deviceCode)
    if (!issued) return { type: 'unknown' }
    if (issued.goodUntil <= this.#now()) return { type: 'expired' }
    const before = this.#askedAt.get(deviceCode) ?? Number.NEGATIVE_INFINITY
    this.#askedAt.set(deviceCode, this.#now())
    // With a tolerance of a tenth: a timer may fire a little early.
    if (this.#now() - before < this.intervalMs * 0.9) return { type: 'slow_down' }
    const entered = this.#entered.get(deviceCode)
    if (!entered) return { type: 'pending' }
    this.#codes.delete(deviceCode)
    return entered.account === undefined ? { type: 'denied' } : { type: 'entered', account: entered.account, issued }
  }

  clear(): void {
    for (const kept of [this.#codes, this.#entered, this.#askedAt]) kept.clear()
  }
}

/** Where device codes are issued, entered and, at ChatGPT, fetched. */
export const DEVICE_PATHS = {
  plain: '/oauth/device/code',
  plainPage: '/device',
  openai: '/openai/api/accounts/deviceauth/usercode',
  openaiToken: '/openai/api/accounts/deviceauth/token',
  openaiPage: '/openai/codex/device',
  openaiRedirect: '/openai/deviceauth/callback',
} as const

/** What the endpoints share. */
interface DeviceEndpointContext {
  readonly deviceCodes: DeviceCodes
  readonly codes: AuthorizationCodes
}

/** Adds the endpoints of RFC 8628 and those of ChatGPT; polls of RFC 8628 go to the token endpoint. */
export function addDeviceEndpoints(app: Express, context: DeviceEndpointContext): void {
  app.post(DEVICE_PATHS.plain, issueByStandard(context))
  app.post(DEVICE_PATHS.openai, issueAsChatGpt(context))
  app.post(DEVICE_PATHS.openaiToken, handOver(context))
  for (const path of [DEVICE_PATHS.plainPage, DEVICE_PATHS.openaiPage]) app.get(path, entryPage(context))
}

/** @see RFC 8628 section 3.2 */
function issueByStandard({ deviceCodes }: DeviceEndpointContext): RequestHandler {
  return (request, response) => {
    const fields = readBody(request).fields ?? {}
    const clientId = textField(fields, 'client_id')
    if (!clientId) return void response.status(400).json(rfcError('invalid_request', 'client_id is missing'))
    const { deviceCode, userCode } = deviceCodes.issue(clientId, textField(fields, 'scope'))
    const page = originOf(request) + DEVICE_PATHS.plainPage
    response.set('cache-control', 'no-store').json({
      device_code: deviceCode,
      user_code: userCode,
      verification_uri: page,
      verification_uri_complete: `${page}?user_code=${userCode}`,
      expires_in: deviceCodes.lifeMs / 1000,
      interval: deviceCodes.intervalMs / 1000,
    })
  }
}

/** ChatGPT's answer: the interval is a text, and the lifetime of the code is missing. */
function issueAsChatGpt({ deviceCodes }: DeviceEndpointContext): RequestHandler {
  return (request, response) => {
    const { encoding, fields = {} } = readBody(request)
    const clientId = textField(fields, 'client_id')
    if (encoding !== 'json' || !clientId) return void response.status(400).json(openAiError('invalid_request', 'client_id is missing'))
    const { deviceCode, userCode } = deviceCodes.issue(clientId)
    response.json({ device_auth_id: deviceCode, user_code: userCode, interval: String(deviceCodes.intervalMs / 1000) })
  }
}

/** ChatGPT's poll returns an authorization code with its PKCE verifier, since the device did not create one. */
function handOver({ deviceCodes, codes }: DeviceEndpointContext): RequestHandler {
  return (request, response) => {
    const { fields = {} } = readBody(request)
    const standing = deviceCodes.ask(textField(fields, 'device_auth_id') ?? '')
    if (standing.type !== 'entered') {
      const isPending = standing.type === 'pending' || standing.type === 'slow_down'
      const code = isPending ? 'deviceauth_authorization_pending' : `deviceauth_${standing.type}`
      return void response.status(standing.type === 'denied' ? 400 : 403).json(openAiError(code, 'The code was not entered.'))
    }
    const verifier = randomBytes(32).toString('base64url')
    const challenge = challengeOf(verifier)
    const code = codes.issue({
      provider: 'openai-codex',
      account: standing.account,
      clientId: standing.issued.clientId,
      codeChallenge: challenge,
      redirectUri: originOf(request) + DEVICE_PATHS.openaiRedirect,
    })
    response.json({ authorization_code: code, code_challenge: challenge, code_verifier: verifier })
  }
}

/** The page for the user: with `user_code` and `account` in the query the code is entered, with `deny` refused. */
function entryPage({ deviceCodes }: DeviceEndpointContext): RequestHandler {
  return (request, response: Response) => {
    const parameters = queryOf(request)
    const userCode = parameters.get('user_code')
    const account = parameters.has('deny') ? undefined : parameters.get('account')
    if (!userCode || account === null || account === '') {
      const form = userCode ? signInForm([['user_code', userCode]], ['account']) : signInForm([], ['user_code', 'account'])
      return void response.type('html').send(browserPage('Enter the code', form))
    }
    const isKnown = deviceCodes.enter(userCode.toUpperCase(), account)
    response
      .status(isKnown ? 200 : 404)
      .type('html')
      .send(browserPage(isKnown ? 'Done: go back to the other device' : 'Unknown code', ''))
  }
}

function originOf(request: Request): string {
  return `${request.protocol}://${request.get('host')}`
}
