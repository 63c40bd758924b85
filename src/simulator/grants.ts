import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Who the tokens say that they are from. */
export const ISSUER = 'https://simulator.invalid'

/** What an access token says about its bearer. */
interface AccessClaims {
  readonly family: string
  /** Counts the access tokens of a family, so that an older one is distinguished from a newer one. */
  readonly serial: number
  readonly account: string
  readonly email: string
  readonly plan: string
  /** Epoch seconds. */
  readonly issuedAt: number
  /** Epoch seconds. */
  readonly expiresAt: number
  readonly scope: string
  /** Repeated in the first id token. */
  readonly nonce?: string
}

/** Content of a refresh token; opaque to clients. */
interface RefreshClaims {
  readonly family: string
  readonly generation: number
}

/**
 * Issues tokens and recognises its own.
 *
 * Tokens hold their content, signed with a key of this object, so that no table of issued tokens grows while a demo runs for a week.
 * Access tokens look like any JWT (RFC 7519); a client cannot verify the signature.
 */
class TokenMint {
  readonly #key = randomBytes(32)

  access(claims: AccessClaims, chatGpt: boolean): string {
    return this.#jwt({
      iss: ISSUER,
      sub: `user-${claims.account}`,
      sid: claims.family,
      jti: String(claims.serial),
      scope: claims.scope,
      account: claims.account,
      iat: claims.issuedAt,
      exp: claims.expiresAt,
      ...(chatGpt ? chatGptClaims(claims) : { email: claims.email }),
    })
  }

  idToken(claims: AccessClaims, audience: string, chatGpt: boolean): string {
    return this.#jwt({
      iss: ISSUER,
      aud: [audience],
      sub: `user-${claims.account}`,
      email: claims.email,
      email_verified: true,
      iat: claims.issuedAt,
      exp: claims.issuedAt + 3600,
      ...(claims.nonce !== undefined && { nonce: claims.nonce }),
      ...(chatGpt ? chatGptClaims(claims) : {}),
    })
  }

  refresh({ family, generation }: RefreshClaims): string {
    const payload = Buffer.from(`${family}.${generation}`).toString('base64url')
    return `rt_${payload}.${this.#sign(payload)}`
  }

  /** @returns `undefined` for what this mint did not make. */
  readRefresh(token: string): RefreshClaims | undefined {
    const [payload, signature] = token.startsWith('rt_') ? token.slice(3).split('.') : []
    if (!payload || !signature || !this.#signed(payload, signature)) return undefined
    const [family, generation] = Buffer.from(payload, 'base64url').toString().split('.')
    return family ? { family, generation: Number(generation) } : undefined
  }

  /** @returns `undefined` for what this mint did not make, id tokens included. */
  readAccess(token: string): Pick<AccessClaims, 'family' | 'serial' | 'account' | 'expiresAt'> | undefined {
    const [header, payload, signature] = token.split('.')
    if (!header || !payload || !signature || !this.#signed(`${header}.${payload}`, signature)) return undefined
    const { sid, jti, account, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString())
    return sid ? { family: sid, serial: Number(jti), account, expiresAt: exp } : undefined
  }

  #jwt(payload: object): string {
    const body = `${encode({ alg: 'HS256', typ: 'JWT', kid: 'simulator' })}.${encode(payload)}`
    return `${body}.${this.#sign(body)}`
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('base64url')
  }

  #signed(text: string, signature: string): boolean {
    const expected = Buffer.from(this.#sign(text))
    const given = Buffer.from(signature)
    return expected.length === given.length && timingSafeEqual(expected, given)
  }
}

function chatGptClaims({ account, email, plan }: AccessClaims): object {
  return {
    'https://api.openai.com/auth': { chatgpt_account_id: account, chatgpt_plan_type: plan, chatgpt_user_id: `user-${account}` },
    'https://api.openai.com/profile': { email, email_verified: true },
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** A login to create. */
export interface GrantOptions {
  /** Provider id. `openai…` gets ChatGPT claims; `anthropic` is known to the Anthropic endpoints alone, any other to the rest. */
  provider: string
  /** The account; for ChatGPT it is the `chatgpt_account_id`. */
  account: string
  /** Life of every access token of this login, in ms. @default the simulator's `accessLifeMs` */
  accessLifeMs?: number
  /** Life of the first access token, in ms; zero or negative: it is born expired. @default `accessLifeMs` */
  firstAccessLifeMs?: number
  /** Whether a refresh brings a new refresh token (`always`) or the old one lives on (`never`, as at Google). @default the simulator's `rotate` */
  rotate?: 'always' | 'never'
  /** @default `<account>@example.com` */
  email?: string
  /** @default 'plus' */
  plan?: string
  /** The only client that may refresh; without it any may. */
  clientId?: string
  /** @default 'openid profile email offline_access' */
  scope?: string
  /** What the id token of a code exchange holds again. */
  nonce?: string
}

/** What a login brings, as a client would store it. */
export interface Grant {
  readonly access: string
  readonly refresh: string
  readonly idToken: string
  /** Expiry of the access token, epoch ms; whole seconds, as in the token. */
  readonly expiresAt: number
  readonly account: string
}

interface GrantsOptions {
  accessLifeMs: number
  rotate: 'always' | 'never'
  reuseKillsFamily: boolean
  now: () => number
}

/** What a refresh token turned out to be. */
export type RefreshStanding = 'current' | 'rotated' | 'unknown' | 'empty' | 'undefined' | 'absent'

/** Why no tokens were given. */
export type GrantRefusal = 'absent' | 'empty' | 'unknown' | 'reused' | 'invalidated' | 'expired' | 'wrong_client' | 'bad_code'

export interface IssuedTokens {
  readonly access: string
  readonly idToken: string
  readonly refresh: string
  readonly lifeMs: number
  readonly scope: string
  readonly account: string
  readonly email: string
  /** False when the refresh token is the one that was sent. */
  readonly rotated: boolean
}

export type Settlement =
  | { readonly kind: 'granted'; readonly tokens: IssuedTokens }
  | { readonly kind: 'refused'; readonly refusal: GrantRefusal }

/** What the bearer of an access token may expect. */
export interface AccessStanding {
  readonly standing: 'good' | 'expired' | 'invalidated' | 'unknown'
  readonly account?: string
  readonly provider?: string
}

/** The logins of one account at one provider, and all tokens that came from one of them. */
interface Family {
  readonly id: string
  readonly login: Required<Omit<GrantOptions, 'clientId' | 'firstAccessLifeMs' | 'nonce'>> & { readonly clientId: string | undefined }
  state: 'alive' | 'expired' | 'dead'
  /** Of the current refresh token. */
  generation: number
  /** Of the newest access token. */
  serial: number
  /** Access tokens up to this one have expired, whatever they say themselves. */
  expiredThrough: number
  replays: number
}

interface RefreshTerms {
  readonly refreshToken: string | undefined
  readonly clientId: string | undefined
  /** Providers whose families this endpoint knows. */
  readonly serves: (provider: string) => boolean
  /** How many replays are only refused before the next one kills the family. */
  readonly replaysForgiven: number
  /** Give no new refresh token, the old one stays good. */
  readonly keepRefresh: boolean
  readonly switchAccountTo: string | undefined
}

/** All logins. Every change happens in one synchronous step: of two requests with the same token, one comes second. */
export class Grants {
  readonly #options: GrantsOptions
  readonly #mint = new TokenMint()
  readonly #families = new Map<string, Family>()

  constructor(options: GrantsOptions) {
    this.#options = options
  }

  login(options: GrantOptions): Grant {
    const family = this.#found(options)
    const { access, idToken, expiresAt } = this.#issueAccess(family, options.firstAccessLifeMs ?? family.login.accessLifeMs)
    return { access, idToken, expiresAt, refresh: this.#mint.refresh({ family: family.id, generation: 0 }), account: options.account }
  }

  /** A login through the token endpoint: the answer to an authorization code. */
  exchange(options: GrantOptions): Settlement {
    return this.#granted(this.#found(options), true, undefined, options.nonce)
  }

  standingOf(refreshToken: string | undefined): { standing: RefreshStanding; account?: string; generation?: number } {
    if (refreshToken === undefined) return { standing: 'absent' }
    if (refreshToken === '') return { standing: 'empty' }
    if (refreshToken === 'undefined') return { standing: 'undefined' }
    const found = this.#findRefresh(refreshToken)
    if (!found) return { standing: 'unknown' }
    const { family, generation } = found
    return { standing: generation === family.generation ? 'current' : 'rotated', account: family.login.account, generation }
  }

  /** Takes a refresh token and gives the next tokens, or says why not. */
  refresh(terms: RefreshTerms): Settlement {
    if (terms.refreshToken === undefined) return refused('absent')
    if (terms.refreshToken === '') return refused('empty')
    const found = this.#findRefresh(terms.refreshToken)
    if (!found || !terms.serves(found.family.login.provider)) return refused('unknown')
    const { family, generation } = found
    if (family.login.clientId !== undefined && terms.clientId !== family.login.clientId) return refused('wrong_client')
    if (family.state === 'dead') return refused('invalidated')
    if (generation !== family.generation) return this.#replayed(family, terms.replaysForgiven)
    if (family.state === 'expired') return refused('expired')
    const rotates = family.login.rotate === 'always' && !terms.keepRefresh
    if (rotates) family.generation += 1
    return this.#granted(family, rotates, terms.switchAccountTo)
  }

  accessStanding(accessToken: string): AccessStanding {
    const claims = this.#mint.readAccess(accessToken)
    const family = claims && this.#families.get(claims.family)
    if (!claims || !family) return { standing: looksExpired(accessToken, this.#options.now()) ? 'expired' : 'unknown' }
    const known = { account: claims.account, provider: family.login.provider }
    if (family.state === 'dead') return { standing: 'invalidated', ...known }
    const expired = claims.serial <= family.expiredThrough || claims.expiresAt * 1000 <= this.#options.now()
    return { standing: expired ? 'expired' : 'good', ...known }
  }

  /** Ends the login a token belongs to, be it a refresh or an access token; an unknown one changes nothing. */
  revoke(token: string): void {
    const family = this.#findRefresh(token)?.family ?? this.#families.get(this.#mint.readAccess(token)?.family ?? '')
    if (family) family.state = 'dead'
  }

  /** Makes the provider refuse all access tokens given so far, although they say they are good. */
  expireAccess(account: string): void {
    for (const family of this.#of(account)) family.expiredThrough = family.serial
  }

  /** Makes the refresh tokens too old; access tokens live on. */
  expireGrant(account: string): void {
    for (const family of this.#of(account)) if (family.state === 'alive') family.state = 'expired'
  }

  clear(): void {
    this.#families.clear()
  }

  #found({ clientId, firstAccessLifeMs: _, nonce: _nonce, ...options }: GrantOptions): Family {
    const family: Family = {
      id: randomBytes(8).toString('hex'),
      login: {
        accessLifeMs: this.#options.accessLifeMs,
        rotate: this.#options.rotate,
        email: options.account.includes('@') ? options.account : `${options.account}@example.com`,
        plan: 'plus',
        scope: 'openid profile email offline_access',
        ...options,
        clientId,
      },
      state: 'alive',
      generation: 0,
      serial: 0,
      expiredThrough: 0,
      replays: 0,
    }
    this.#families.set(family.id, family)
    return family
  }

  #granted(family: Family, rotated: boolean, switchAccountTo: string | undefined, nonce?: string): Settlement {
    const { accessLifeMs: lifeMs, scope, account, email } = family.login
    const { access, idToken } = this.#issueAccess(family, lifeMs, switchAccountTo, nonce)
    const refresh = this.#mint.refresh({ family: family.id, generation: family.generation })
    return { kind: 'granted', tokens: { access, idToken, refresh, lifeMs, scope, account, email, rotated } }
  }

  #issueAccess(
    family: Family,
    lifeMs: number,
    switchAccountTo?: string,
    nonce?: string,
  ): { access: string; idToken: string; expiresAt: number } {
    family.serial += 1
    const { account, email, plan, scope, provider, clientId } = family.login
    const issuedAt = Math.floor(this.#options.now() / 1000)
    const expiresAt = issuedAt + Math.floor(lifeMs / 1000)
    const holder =
      switchAccountTo === undefined ? { account, email } : { account: switchAccountTo, email: `${switchAccountTo}@example.com` }
    const claims: AccessClaims = {
      family: family.id,
      serial: family.serial,
      plan,
      scope,
      issuedAt,
      expiresAt,
      ...(nonce !== undefined && { nonce }),
      ...holder,
    }
    const chatGpt = provider.startsWith('openai')
    return {
      access: this.#mint.access(claims, chatGpt),
      idToken: this.#mint.idToken(claims, clientId ?? 'simulated-client', chatGpt),
      expiresAt: expiresAt * 1000,
    }
  }

  #replayed(family: Family, replaysForgiven: number): Settlement {
    family.replays += 1
    if (!this.#options.reuseKillsFamily || family.replays <= replaysForgiven) return refused('reused')
    family.state = 'dead'
    return refused('invalidated')
  }

  #findRefresh(token: string): { family: Family; generation: number } | undefined {
    const claims = this.#mint.readRefresh(token)
    const family = claims && this.#families.get(claims.family)
    return family && claims ? { family, generation: claims.generation } : undefined
  }

  #of(account: string): Family[] {
    const families = [...this.#families.values()].filter(family => family.login.account === account)
    if (families.length === 0) throw new RangeError(`no login of account ${account}; create one with grantFor`)
    return families
  }
}

function refused(refusal: GrantRefusal): Settlement {
  return { kind: 'refused', refusal }
}

/** A token of another simulator, or of before a reset, that says itself that it is over. */
function looksExpired(token: string, now: number): boolean {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
    return typeof exp === 'number' && exp * 1000 <= now
  } catch {
    return false
  }
}
