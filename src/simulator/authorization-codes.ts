import { createHash, randomBytes } from 'node:crypto'
import type { GrantOptions } from './grants.ts'

/** What an authorization code is made for, as the browser's request would have said. */
export interface AuthorizationCodeOptions extends GrantOptions {
  /** PKCE challenge, method S256 (RFC 7636); without it no verifier is asked for. */
  codeChallenge?: string
  /** Has to be repeated in the exchange when given. */
  redirectUri?: string
  /** Life of the code, in ms. @default 600_000 */
  codeLifeMs?: number
}

/** What the client sends to turn a code into tokens. */
interface CodeRedemption {
  readonly code: string | undefined
  readonly verifier: string | undefined
  readonly redirectUri: string | undefined
  readonly clientId: string | undefined
}

/** Codes that wait to be exchanged: single use, short-lived. */
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

  /** @returns The login the code stands for, or `undefined` when it may not be exchanged; it is spent either way. */
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
