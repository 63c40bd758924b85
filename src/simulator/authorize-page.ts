import type { Request, RequestHandler, Response } from 'express'
import type { AuthorizationCodes } from './authorization-codes.ts'
import { browserPage, signInForm } from './browser-page.ts'
import { ISSUER } from './token-mint.ts'

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
 * The page at which a user signs in: with `account` in the query it sends the browser back with a code, with `deny` back
 * with a refusal, else it shows a form that asks.
 */
export function authorizePage(dialect: keyof typeof AUTHORIZE_PATHS, codes: AuthorizationCodes): RequestHandler {
  return (request, response) => {
    const parameters = queryOf(request)
    const redirectUri = parameters.get('redirect_uri')
    if (parameters.get('response_type') !== 'code' || !redirectUri || !URL.canParse(redirectUri)) {
      // A request that is wrong in itself is never sent on: it may be another caller's address (RFC 6749 section 4.1.2.1).
      response.status(400).type('html').send(browserPage('This is no request to sign in', ''))
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

/** Express reads a query into objects; a parameter is a text. */
export function queryOf(request: Request): URLSearchParams {
  return new URL(request.originalUrl, 'http://simulator').searchParams
}
