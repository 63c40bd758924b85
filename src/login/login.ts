import { isOAuth, type OAuthCredential, type StoredProfile } from '../domain/credential.ts'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { oauthParty } from '../token-requests/oauth-request.ts'
import type { GrantedAnswer } from '../token-requests/refresh-answer.ts'
import { systemClock } from '../tools/clock.ts'
import { signInByBrowser } from './browser-login.ts'
import { signInByDevice } from './device-login.ts'
import type { LoginContext, LoginOptions } from './login-context.ts'
import { loginGivenUp, OperationError, recordOperation } from './operation-record.ts'
import { giveBack } from './revocation.ts'

/** What a login came to. */
export interface LoggedIn {
  readonly profile: StoredProfile
  /** The profile held a login before. */
  readonly replaced: boolean
}

/**
 * Signs a user in and stores what came of it, at the very end and in one step: whatever ends it before, the store is as
 * it was.
 *
 * The account is compared with the one the profile holds: a login that would quietly switch who pays and whose data is
 * read is given back to the provider and refused.
 *
 * @throws {GatewayError} `GW_LOGIN_FAILED` (see `OperationError.ended`), `GW_ABORTED`, `GW_CONFIG` for a provider or method
 *   that cannot be used, or a store's code.
 */
export function login(options: LoginOptions): Promise<LoggedIn> {
  const { telemetry, provider, profileId, method, caller } = options
  const facts = { operation: 'login', provider: provider.id, profileId, caller, loginMethod: method } as const
  return recordOperation(telemetry, facts, async operation => {
    const context = contextOf(options)
    checkPlace(options, await options.store.reload(profileId))
    const answer = await (method === 'device' ? signInByDevice(context) : signInByBrowser(context))
    operation.set({
      hasRefresh: answer.refresh !== undefined,
      credentialExpiresInS: Math.round(answer.expiresInMs / 1000),
      expiresInRepaired: answer.repaired,
    })
    // A user who pressed Ctrl-C meanwhile was notified that nothing would be stored.
    if (options.signal.aborted) throw loginGivenUp(options.signal.reason)
    return keep(options, context, answer)
  })
}

function contextOf({ provider, clock = systemClock, ...options }: LoginOptions): LoginContext {
  const party = oauthParty(provider)
  const { login } = party.oauth
  const wanted = options.method === 'device' ? 'deviceUrl' : 'authorizationUrl'
  if (login?.[wanted] !== undefined) return { ...options, party, login, clock }
  const other = options.method === 'device' ? login?.authorizationUrl : login?.deviceUrl
  const instead = other === undefined ? '' : options.method === 'device' ? ', or sign in without --device' : ', or sign in with --device'
  throw configError(`no user can sign in at ${provider.id} this way: set providers.${provider.id}.${wanted}${instead}`)
}

/** What the profile holds may be replaced by a login, as far as can be said before anybody signs in. */
function checkPlace({ telemetry, provider, profileId, replaceAccount }: LoginOptions, stored: StoredProfile | undefined): void {
  if (!stored) return
  const name = telemetry.profile(profileId)
  if (stored.provider !== provider.id) {
    throw new GatewayError('GW_PROFILE_IN_USE', `profile ${name} belongs to ${stored.provider}: choose another name with --profile`, {
      next: 'fix_configuration',
    })
  }
  if (!isOAuth(stored.credential) && replaceAccount !== true) {
    throw new GatewayError(
      'GW_PROFILE_IN_USE',
      `profile ${name} holds a ${stored.credential.type === 'api_key' ? 'key' : 'token'}: choose another name with --profile, or put the login in its place with --replace-account`,
      { next: 'check_account' },
    )
  }
}

async function keep(options: LoginOptions, context: LoginContext, answer: GrantedAnswer): Promise<LoggedIn> {
  const { store, profileId, replaceAccount = false } = options
  const credential = credentialOf(answer, context.clock.now())
  let replaced = false
  let isOther = false
  const profile = await store.change(profileId, current => {
    checkPlace(options, current)
    replaced = current !== undefined
    isOther = isOtherAccount(current, credential)
    return isOther && !replaceAccount ? current : signedIn(current, options, credential, isOther)
  })
  if (profile && !(isOther && !replaceAccount)) return { profile, replaced }
  // No caller would ever use it or know of it.
  const returned = await giveBack({
    ...context,
    token: answer.refresh ?? answer.access,
    kind: answer.refresh ? 'refresh_token' : 'access_token',
  })
  throw new OperationError(
    'identity_mismatch',
    'GW_LOGIN_FAILED',
    `profile ${options.telemetry.profile(profileId)} belongs to another account than the one that signed in; nothing was changed${returned ? ', the new login was given back' : ''}. Sign in with the account it belongs to, choose another --profile, or say --replace-account`,
    { next: 'check_account' },
  )
}

function isOtherAccount(current: StoredProfile | undefined, { account }: OAuthCredential): boolean {
  if (!current || !isOAuth(current.credential)) return false
  return current.credential.account !== undefined && account !== undefined && current.credential.account !== account
}

function signedIn(
  current: StoredProfile | undefined,
  { profileId, provider }: LoginOptions,
  credential: OAuthCredential,
  isOther: boolean,
): StoredProfile {
  const {
    pending: _pending,
    needsLogin: _needsLogin,
    rotatedAway,
    heldBefore,
    rotatedAwayAt,
    ...rest
  } = current ?? { id: profileId, provider: provider.id }
  // Who held a token of the former account has no part in this one.
  const lineage = isOther
    ? {}
    : { ...(rotatedAway && { rotatedAway }), ...(heldBefore && { heldBefore }), ...(rotatedAwayAt && { rotatedAwayAt }) }
  return { ...rest, ...lineage, credential }
}

function credentialOf({ access, refresh, idToken, scope, expiresInMs, account }: GrantedAnswer, now: number): OAuthCredential {
  return {
    type: 'oauth',
    access,
    expiresAt: now + expiresInMs,
    issuedAt: now,
    generation: 0,
    ...(refresh !== undefined && { refresh }),
    ...(idToken !== undefined && { idToken }),
    ...(scope !== undefined && { scope }),
    ...(account !== undefined && { account }),
  }
}
