import { randomInt } from 'node:crypto'
import { configError, isGatewayError } from '../domain/gateway-error.ts'
import { isLoopbackUrl } from '../providers/token-url.ts'
import { requestCodeGrant } from '../token-requests/code-grant.ts'
import type { GrantedAnswer } from '../token-requests/refresh-answer.ts'
import { authorizationUrl, type LoginSecrets, loginSecrets, readRedirect } from './authorization-request.ts'
import { exchange } from './code-exchange.ts'
import type { LoginContext } from './login-context.ts'
import { awaitRedirect, untilAborted } from './loopback-redirect.ts'
import { loginGivenUp, loginTooLate } from './operation-error.ts'
import { readPasted } from './pasted-redirect.ts'

/** A person signs in, confirms by mail or phone, looks for the password: this long at most. */
const LIMIT_MS = 10 * 60_000

/**
 * Signs in with an authorization code and PKCE: the browser brings it back to this machine, or somebody pastes where the
 * browser ended.
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
