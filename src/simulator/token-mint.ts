import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Who the tokens say that they are from. */
export const ISSUER = 'https://simulator.invalid'

/** What an access token says about its bearer. */
export interface AccessClaims {
  readonly family: string
  /** Access tokens of a family are counted; the count tells an older one from a newer one. */
  readonly serial: number
  readonly account: string
  readonly email: string
  readonly plan: string
  /** Epoch seconds. */
  readonly issuedAt: number
  /** Epoch seconds. */
  readonly expiresAt: number
  readonly scope: string
  /** What the client wants to find again in its first id token. */
  readonly nonce?: string
}

/** What a refresh token says to the mint, and to no other caller. */
interface RefreshClaims {
  readonly family: string
  readonly generation: number
}

/**
 * Makes tokens and knows its own again.
 *
 * Tokens carry what they stand for under a key that lives as long as the mint, so no table of issued tokens grows
 * while a demo runs for a week. No client can check the signature of an access token; it looks like any JWT (RFC 7519).
 */
export class TokenMint {
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
