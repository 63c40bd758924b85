import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { AttemptOutcome, TokenRequestOutcome } from '../../../src/domain/enums.ts'

/** Who may call: two subscriptions, a token that is minted elsewhere, and a key that is paid by use. */
export const PROFILES = ['work', 'team', 'static', 'paid'] as const
export type ProfileWord = (typeof PROFILES)[number]
export type LoginWord = 'work' | 'team'

/** The header by which a call of the day is known again where it arrives. */
export const CALL_HEADER = 'x-day-call'

/** How the provider answers one model call, and what that means for the profile that made it. */
export interface Answer {
  readonly status: number
  readonly means: AttemptOutcome
  readonly headers?: Readonly<Record<string, string>>
  /** JSON. @default an answer, or an error without a code */
  readonly body?: unknown
  /** The answer waits for this. */
  readonly until?: Promise<unknown>
  /** Sends the head and a first chunk, and nothing more until the client leaves. */
  readonly stalls?: boolean
}

/** How the token endpoint answers one refresh. */
export interface TokenResponse {
  readonly status: number
  readonly means: TokenRequestOutcome
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  readonly until?: Promise<unknown>
}

/** A request as the provider saw it. Times are epoch ms. */
export interface LoggedCall {
  readonly at: number
  /** What `CALL_HEADER` says; empty for a probe. */
  readonly call: string
  readonly who: ProfileWord | 'unknown'
  readonly model: string
  readonly status: number
  readonly means: AttemptOutcome
  /** The client left before the answer was whole. */
  left: boolean
  /** The head of the answer is out. */
  begun: boolean
  over: boolean
}

export interface LoggedRefresh {
  readonly at: number
  readonly who: LoginWord | 'unknown'
  readonly grant: string
  readonly means: TokenRequestOutcome
  readonly status: number
}

/** A login as the provider keeps it. */
interface Login {
  readonly who: LoginWord
  /** The account that signed in, as its tokens name it. */
  readonly account: string
  refresh: string
  /** Refresh tokens that were rotated away. */
  readonly used: Set<string>
  /** Access tokens with their end, epoch ms; a revoked one is not there. */
  readonly access: Map<string, number>
  /** What the newest access token says of its end, epoch ms. */
  end: number
  isDead: boolean
  rotations: number
}

export interface Tokens {
  readonly account: string
  readonly access: string
  readonly refresh: string
  readonly expiresAt: number
}

const DEFAULT_LIFE_MS = 3_600_000
const GOOD: Answer = { status: 200, means: 'ok' }

/**
 * The provider of the day: a real server that gives the requested answers and writes down everything. Tokens are its own: a
 * token that has ended or was revoked is refused, whatever the phase has planned.
 */
export class DayProvider {
  readonly calls: LoggedCall[] = []
  readonly refreshes: LoggedRefresh[] = []
  readonly revoked: LoginWord[] = []
  key = `sk-day-${randomBytes(12).toString('hex')}`
  /** The static tokens that are good, with their end. */
  readonly #static = new Map<string, number>()
  readonly #logins = new Map<LoginWord, Login>()
  readonly #former: Login[] = []
  #accounts = 0
  readonly #codes = new Map<string, { account: LoginWord; challenge: string; redirect: string }>()
  readonly #planned = new Map<ProfileWord, (model: string) => Answer | undefined>()
  readonly #server = createServer((request, response) => void this.#answer(request, response))
  #tokenPlan: () => TokenResponse | undefined = () => undefined
  #url = ''
  /** Who signs in when a browser comes. */
  signsIn: LoginWord = 'work'
  /** How long the access tokens of the next logins and refreshes live. */
  lifeMs = DEFAULT_LIFE_MS

  async start(): Promise<void> {
    await new Promise<void>(resolve => this.#server.listen(0, '127.0.0.1', resolve))
    this.#url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    await new Promise<void>(resolve => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  get url(): string {
    return this.#url
  }

  /** What a profile's next calls are answered: the list in its order, then well again; or as the function says. */
  plan(who: ProfileWord, answers: readonly Answer[] | ((model: string) => Answer | undefined)): void {
    const left = typeof answers === 'function' ? undefined : [...answers]
    this.#planned.set(who, typeof answers === 'function' ? answers : () => left?.shift())
  }

  planTokens(answers: readonly TokenResponse[] | (() => TokenResponse | undefined)): void {
    const left = typeof answers === 'function' ? undefined : [...answers]
    this.#tokenPlan = typeof answers === 'function' ? answers : () => left?.shift()
  }

  /** Everything is answered well again. */
  isWell(): void {
    this.#planned.clear()
    this.#tokenPlan = () => undefined
    this.lifeMs = DEFAULT_LIFE_MS
  }

  /** A new login, with the account of before or another one: a login of its own, beside which the former one goes on as it was. */
  signIn(who: LoginWord, isOtherAccount = false): Tokens {
    const former = this.#logins.get(who)
    if (former) this.#former.push(former)
    if (isOtherAccount) this.#accounts += 1
    const account = former && !isOtherAccount ? former.account : `${who}-${this.#accounts}`
    const login: Login = { who, account, refresh: '', used: new Set(), access: new Map(), end: 0, isDead: false, rotations: 0 }
    this.#logins.set(who, login)
    return this.#mint(login)
  }

  /** The key is another one from now on. */
  newKey(): void {
    this.key = `sk-day-${randomBytes(12).toString('hex')}`
  }

  /** A token that is minted elsewhere and handed over. */
  staticToken(lifeMs: number): { token: string; expiresAt: number } {
    const expiresAt = Date.now() + lifeMs
    const token = jwt('static', 'static', expiresAt)
    this.#static.clear()
    this.#static.set(token, expiresAt)
    return { token, expiresAt }
  }

  /** A token without an end, for an account that signed in before. */
  endlessToken(who: LoginWord): string {
    const token = jwt(who, `${who}-endless`, Date.now() + 1_000 * DEFAULT_LIFE_MS)
    this.#logins.get(who)?.access.set(token, Number.POSITIVE_INFINITY)
    return token
  }

  /** The refresh token is refused from now on; access tokens go on. */
  endGrant(account: LoginWord): void {
    const login = this.#logins.get(account)
    if (login) login.isDead = true
  }

  /** Access tokens are refused from now on. */
  revokeAccess(account: LoginWord): void {
    this.#logins.get(account)?.access.clear()
  }

  /** When the newest access token ends, as it says itself, epoch ms. */
  accessEnd(account: LoginWord): number | undefined {
    return this.#logins.get(account)?.end
  }

  /** How often the present login was rotated. */
  rotations(account: LoginWord): number {
    return this.#logins.get(account)?.rotations ?? 0
  }

  /** The browser of a person who signs in: follows the page to where it ends. */
  async browse(authorizationUrl: string): Promise<string> {
    const answer = await fetch(authorizationUrl, { redirect: 'manual' })
    const ended = answer.headers.get('location')
    if (!ended) throw new Error(`the page of the provider ended with ${answer.status}`)
    return ended
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.#url)
    const body = await text(request).catch(() => '')
    switch (pathname) {
      case '/oauth/authorize':
        return this.#authorize(searchParams, response)
      case '/oauth/token':
        return this.#token(body, response)
      case '/oauth/revoke':
        return this.#revoke(body, response)
      default:
        return this.#call(pathname, body, request, response)
    }
  }

  #authorize(asked: URLSearchParams, response: ServerResponse): void {
    const code = randomBytes(16).toString('hex')
    const redirect = asked.get('redirect_uri') ?? ''
    this.#codes.set(code, { account: this.signsIn, challenge: asked.get('code_challenge') ?? '', redirect })
    const ended = new URL(redirect)
    ended.searchParams.set('code', code)
    ended.searchParams.set('state', asked.get('state') ?? '')
    response.writeHead(302, { location: ended.href }).end()
  }

  async #token(body: string, response: ServerResponse): Promise<void> {
    const form = new URLSearchParams(body)
    const at = Date.now()
    if (form.get('grant_type') === 'authorization_code') return this.#exchange(form, response)
    const sent = form.get('refresh_token') ?? ''
    const login = [...this.#logins.values(), ...this.#former].find(({ refresh, used }) => refresh === sent || used.has(sent))
    const who = login?.who ?? 'unknown'
    const log = (status: number, means: TokenRequestOutcome) =>
      this.refreshes.push({ at, who, grant: form.get('grant_type') ?? '', status, means })
    const planned = this.#tokenPlan()
    await planned?.until
    if (planned && planned.status >= 300) {
      log(planned.status, planned.means)
      return json(response, planned.status, planned.body ?? { error: 'temporarily_unavailable' }, planned.headers)
    }
    if (!login || login.isDead || login.refresh !== sent) {
      log(400, 'invalidated')
      // A replay ends the whole login, as at the providers that rotate.
      if (login?.used.has(sent)) login.isDead = true
      return json(response, 400, { error: 'invalid_grant', error_description: 'refresh token was revoked' })
    }
    log(200, 'rotated')
    login.rotations += 1
    json(response, 200, answerOf(this.#mint(login), this.lifeMs))
  }

  #exchange(form: URLSearchParams, response: ServerResponse): void {
    const code = form.get('code') ?? ''
    const verifier = form.get('code_verifier') ?? ''
    const known = this.#codes.get(code)
    const isProven = known?.challenge === createHash('sha256').update(verifier).digest('base64url')
    if (known && isProven && known.redirect === form.get('redirect_uri')) {
      this.#codes.delete(code)
      json(response, 200, answerOf(this.signIn(known.account), this.lifeMs))
    } else json(response, 400, { error: 'invalid_grant' })
  }

  #revoke(body: string, response: ServerResponse): void {
    const token = (JSON.parse(body || '{}') as { token?: string }).token ?? new URLSearchParams(body).get('token') ?? ''
    const login = [...this.#logins.values()].find(({ refresh, access }) => refresh === token || access.has(token))
    if (login) {
      login.isDead = true
      login.access.clear()
      this.revoked.push(login.who)
    }
    json(response, 200, {})
  }

  async #call(path: string, body: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const bearer = (request.headers.authorization ?? '').replace(/^Bearer /, '')
    const who = this.#owner(bearer)
    const isListing = path.endsWith('/models')
    const model = isListing ? '' : String((JSON.parse(body || '{}') as { model?: unknown }).model ?? '')
    const answer = this.#judge(who, bearer, model)
    const logged: LoggedCall = {
      at: Date.now(),
      call: String(request.headers[CALL_HEADER] ?? ''),
      who,
      model,
      status: answer.status,
      means: answer.means,
      left: false,
      begun: false,
      over: false,
    }
    this.calls.push(logged)
    response.once('close', () => {
      logged.left = !response.writableFinished
      logged.over = true
    })
    await answer.until
    if (response.destroyed) return
    const isGood = answer.status < 300
    response.writeHead(answer.status, { 'content-type': 'application/json', 'x-request-id': `req-${this.calls.length}`, ...answer.headers })
    logged.begun = isGood
    const content = answer.body ?? (isGood ? goodBody(isListing, model) : { error: { message: 'no', type: 'error', code: null } })
    if (!answer.stalls) return void response.end(JSON.stringify(content))
    response.write('{"id":"resp-1",')
    response.flushHeaders()
  }

  #owner(bearer: string): LoggedCall['who'] {
    if (bearer === this.key) return 'paid'
    const who = claims(bearer)?.who
    return who === 'work' || who === 'team' || who === 'static' ? who : 'unknown'
  }

  #judge(who: LoggedCall['who'], bearer: string, model: string): Answer {
    const end =
      who === 'paid'
        ? Number.POSITIVE_INFINITY
        : who === 'static'
          ? this.#static.get(bearer)
          : who === 'unknown'
            ? undefined
            : [this.#logins.get(who), ...this.#former].find(login => login?.access.has(bearer))?.access.get(bearer)
    if (who === 'unknown' || end === undefined || end <= Date.now())
      return {
        status: 401,
        means: 'auth',
        body: { error: { message: 'token expired', type: 'invalid_request_error', code: 'token_expired' } },
      }
    return this.#planned.get(who)?.(model) ?? GOOD
  }

  #mint(login: Login): Tokens {
    if (login.refresh) login.used.add(login.refresh)
    const expiresAt = Date.now() + this.lifeMs
    const access = jwt(login.who, login.account, expiresAt)
    login.refresh = `rt_${randomBytes(24).toString('base64url')}`
    login.access.set(access, expiresAt)
    login.end = expiresAt
    return { account: login.account, access, refresh: login.refresh, expiresAt }
  }
}

function answerOf({ access, refresh }: Tokens, lifeMs: number): object {
  return { access_token: access, refresh_token: refresh, token_type: 'Bearer', expires_in: Math.round(lifeMs / 1000) }
}

function json(response: ServerResponse, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

function goodBody(isListing: boolean, model: string): object {
  if (isListing) return { object: 'list', data: [], models: [] }
  return { id: 'resp-1', object: 'response', model, output: [], usage: { input_tokens: 3, output_tokens: 5, total_tokens: 8 } }
}

/** A token as the ChatGPT backend's: its account stands in it. */
function jwt(who: string, account: string, expiresAt: number): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const payload = {
    who,
    exp: Math.floor(expiresAt / 1000),
    jti: randomBytes(8).toString('hex'),
    'https://api.openai.com/auth': { chatgpt_account_id: account },
  }
  return `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(payload)}.${randomBytes(24).toString('base64url')}`
}

function claims(token: string): { who?: string } | undefined {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { who?: string }
  } catch {
    return undefined
  }
}
