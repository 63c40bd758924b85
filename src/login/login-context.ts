import type { CallerSite } from '../domain/caller-site.ts'
import type { LoginMethod } from '../domain/enums.ts'
import type { LoginEndpoints } from '../providers/login-endpoints.ts'
import { Permit } from '../providers/permit.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { AskOptions, OAuthParty } from '../token-requests/oauth-request.ts'
import type { Clock } from '../tools/clock.ts'
import type { LoginPrompts } from './login-prompts.ts'

/** What a login is made with. */
export interface LoginOptions {
  readonly store: ProfileStore
  readonly telemetry: Telemetry
  readonly provider: Provider
  readonly profileId: string
  readonly method: LoginMethod
  readonly caller: CallerSite
  readonly prompts: LoginPrompts
  /** Gives the login up; nothing is stored then. */
  readonly signal: AbortSignal
  /** Takes an account that is not the one the profile holds now. @default false */
  readonly replaceAccount?: boolean
  readonly clock?: Clock
}

/** A login under way: the provider as it is asked, and what the ways of signing in share. */
export interface LoginContext extends Pick<LoginOptions, 'telemetry' | 'profileId' | 'caller' | 'prompts' | 'signal' | 'method'> {
  readonly party: OAuthParty
  readonly login: LoginEndpoints
  readonly clock: Clock
}

/** Longest wait for one answer, in ms. */
export const REQUEST_TIMEOUT_MS = 30_000

/** What every request of a login is sent with; its permit is good for one request to the token endpoint. */
export function askOptions({ party, signal, clock }: Pick<LoginContext, 'party' | 'signal' | 'clock'>): AskOptions {
  return {
    party,
    permit: new Permit({ url: party.oauth.tokenUrl, lifetimeMs: REQUEST_TIMEOUT_MS }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
    now: clock.now(),
  }
}
