import type { CallerSite } from '../domain/caller-site.ts'
import type { LoginMethod } from '../domain/enums.ts'
import { Permit } from '../providers/permit.ts'
import type { LoginEndpoints, Provider } from '../providers/provider.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { AskOptions, OAuthParty } from '../token-requests/oauth-request.ts'
import type { Clock } from '../tools/clock.ts'

/** The sign-in page to show to the user. */
export interface SignInPage {
  /** The page itself. It holds the state of this login, and no other secret. */
  readonly url: string
  /** To be entered on that page. */
  readonly userCode?: string
  /** What is left until the login is given up, in ms. */
  readonly limitMs: number
}

/** How a login speaks with the person who signs in. */
export interface LoginPrompts {
  /** Shows the page; the login waits from now on. */
  show(page: SignInPage): void
  /** Asks for the address at which the browser ended. @throws when nothing more will come. */
  paste(signal: AbortSignal): Promise<string>
  /** Says something on the way. */
  note(text: string): void
}

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

/** A login in progress: the provider and what all ways of signing in share. */
export interface LoginContext extends Pick<LoginOptions, 'telemetry' | 'profileId' | 'caller' | 'prompts' | 'signal' | 'method'> {
  readonly party: OAuthParty
  readonly login: LoginEndpoints
  readonly clock: Clock
}

/** Longest wait for one answer, in ms. */
const REQUEST_TIMEOUT_MS = 30_000

/** What every request of a login is sent with; its permit is good for one request to the token endpoint. */
export function askOptions({ party, signal, clock }: Pick<LoginContext, 'party' | 'signal' | 'clock'>): AskOptions {
  return {
    party,
    permit: new Permit({ url: party.oauth.tokenUrl, lifetimeMs: REQUEST_TIMEOUT_MS }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
    now: clock.now(),
  }
}
