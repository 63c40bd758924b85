import { randomInt } from 'node:crypto'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { requestCodeGrant } from '../providers/code-grant.ts'
import type { GrantedAnswer } from '../providers/refresh-answer.ts'
import { isLoopbackUrl } from '../providers/token-url.ts'
import { authorizationUrl, type LoginSecrets, loginSecrets, readRedirect } from './authorization-request.ts'
import { exchange } from './code-exchange.ts'
import type { LoginDesk } from './login-context.ts'
import { awaitRedirect, untilAborted } from './loopback-redirect.ts'
import { loginGivenUp, loginTooLate } from './operation-error.ts'
import { readPasted } from './pasted-redirect.ts'

/** A person signs in, confirms by mail or phone, looks for the password: this long at the most. */
const LIMIT_MS = 10 * 60_000

/**
 * Signs in with an authorization code and PKCE: the browser brings it back to this machine, or somebody pastes where the
 * browser ended.
 *
 * @throws {GatewayError} as `login`.
 */
export async function signInByBrowser(desk: LoginDesk): Promise<GrantedAnswer> {
  const secrets = await loginSecrets(desk.login)
  const limit = AbortSignal.timeout(LIMIT_MS)
  const signal = AbortSignal.any([desk.signal, limit])
  try {
    return await (desk.method === 'paste' ? byPasting(desk, secrets, signal) : byRedirect(desk, secrets, signal))
  } catch (error) {
    if (isGatewayError(error) && !isGatewayError(error, 'GW_ABORTED')) throw error
    if (desk.signal.aborted) throw loginGivenUp(desk.signal.reason)
    throw limit.aborted ? loginTooLate(LIMIT_MS) : error
  }
}

async function byRedirect(desk: LoginDesk, secrets: LoginSecrets, signal: AbortSignal): Promise<GrantedAnswer> {
  const { party, login, guide } = desk
  if (!login.redirectUrl.startsWith('http://') || !isLoopbackUrl(login.redirectUrl)) {
    throw new GatewayError('GW_CONFIG', `browsers of ${party.provider.id} do not come back to this machine: sign in with --paste`, {
      next: 'fix_configuration',
    })
  }
  const redirect = await awaitRedirect({
    redirectUrl: login.redirectUrl,
    state: secrets.state,
    onStranger: () => guide.note('a browser came back from another login; this one waits on'),
  })
  let isSignedIn = false
  try {
    guide.show({ url: authorizationUrl(party, login, secrets, redirect.url), limitMs: LIMIT_MS })
    const brought = await redirect.redirected(signal)
    const answer = await exchangeBrought(desk, secrets, brought, redirect.url)
    isSignedIn = true
    return answer
  } finally {
    await redirect.finish(isSignedIn)
  }
}

async function byPasting(desk: LoginDesk, secrets: LoginSecrets, signal: AbortSignal): Promise<GrantedAnswer> {
  const { party, login, guide } = desk
  const redirectUrl = unheardUrl(login.redirectUrl)
  guide.show({ url: authorizationUrl(party, login, secrets, redirectUrl), limitMs: LIMIT_MS })
  for (;;) {
    const pasted = readPasted(await untilAborted(guide.paste(signal), signal))
    if (!pasted) {
      guide.note('there is no code in that: copy the whole address from the address bar, also of a page that says it cannot be reached')
      continue
    }
    if (pasted.get('state') === secrets.state) return exchangeBrought(desk, secrets, pasted, redirectUrl)
    guide.note('that address belongs to another login: open the page shown above and copy where it ends')
  }
}

async function exchangeBrought(
  desk: LoginDesk,
  secrets: LoginSecrets,
  brought: URLSearchParams,
  redirectUrl: string,
): Promise<GrantedAnswer> {
  const parameters = readRedirect(desk.party, brought, secrets.state)
  const { codeVerifier, nonce, state } = secrets
  return exchange(desk, options =>
    requestCodeGrant({
      ...options,
      parameters,
      redirectUrl,
      codeVerifier,
      ...(nonce !== undefined && { nonce }),
      ...(desk.login.repeatsState && { state }),
    }),
  )
}

/** Where nobody listens: a redirect URL without a port gets one, since the provider wants it to be whole. */
function unheardUrl(redirectUrl: string): string {
  const url = new URL(redirectUrl)
  if (url.protocol === 'http:' && url.port === '') url.port = String(randomInt(49_152, 65_536))
  return url.href
}
