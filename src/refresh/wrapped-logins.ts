import { ROTATED_AWAY_KEPT } from '../domain/credential.ts'
import type { TokenRequestOutcome } from '../domain/enums.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { isPermanent, isSuccess } from '../domain/token-request-outcome.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { setNewest } from '../tools/drop-oldest.ts'
import { Lineage } from './lineage.ts'

/** Whose login it is. */
interface LoginName {
  readonly provider: string
  readonly profileId: string
}

/** A login whose tokens the application keeps, by fingerprints alone. Times are epoch milliseconds. */
export interface WrappedLogin extends LoginName {
  /** The application says which tokens a refresh brings, so that this is a profile of its own. */
  readonly isGiven: boolean
  readonly access: Fingerprint | undefined
  readonly refresh: Fingerprint | undefined
  readonly expiresAt: number | undefined
  readonly issuedAt: number | undefined
  /** Rotations that were seen. */
  readonly generation: number
  /** Its last refresh was refused for good. */
  readonly dead: { readonly outcome: TokenRequestOutcome; readonly since: number } | undefined
  readonly rotatedAway: readonly Fingerprint[]
}

/** What a refresh has come to. */
interface EndedRefresh extends LoginName {
  readonly outcome: TokenRequestOutcome
  /** The refresh token that was sent last, where the request was seen. */
  readonly sent: Fingerprint | undefined
  /** The refresh token that came back. */
  readonly received: Fingerprint | undefined
  readonly access: Fingerprint | undefined
  readonly expiresAt: number | undefined
  readonly isGiven: boolean
}

const MOST_LOGINS = 1_000

/** Logins behind the wrapped refresh functions of one Gatewatch: how old their tokens are, which followed which, and which were rotated away. */
export class WrappedLogins {
  readonly #clock: Clock
  readonly #lineage = new Lineage()
  readonly #logins = new Map<string, WrappedLogin>()

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  of(name: LoginName): WrappedLogin | undefined {
    return this.#logins.get(keyOf(name))
  }

  /** Those whose tokens the application says. */
  given(): WrappedLogin[] {
    return [...this.#logins.values()].filter(({ isGiven }) => isGiven)
  }

  /** Which login a refresh token belongs, or belonged, to. Synchronous: it is asked while a request leaves. */
  lineageOf(refresh: Fingerprint): { readonly profileId: string; readonly rotatedAway: boolean } | undefined {
    const known = this.#lineage.of(refresh)
    return known && { ...known, profileId: this.#logins.get(known.profileId)?.profileId ?? known.profileId }
  }

  /** Takes in how a refresh ended. */
  ended(refresh: EndedRefresh): void {
    const { outcome, isGiven } = refresh
    const now = this.#clock.now()
    const former = this.of(refresh) ?? unknownLogin(refresh)
    const known = { ...former, isGiven: former.isGiven || isGiven }
    if (isSuccess(outcome)) this.#keep(afterSuccess(known, refresh, now))
    else if (isPermanent(outcome)) this.#keep({ ...known, dead: { outcome, since: now } })
  }

  /** A user has signed in: the tokens are others, and nothing was rotated yet. */
  loggedIn(name: LoginName): void {
    const known = this.of(name)
    if (known) this.#keep({ ...unknownLogin(name), isGiven: known.isGiven })
  }

  /** A user has signed out. */
  loggedOut(name: LoginName): void {
    this.#logins.delete(keyOf(name))
    this.#lineage.hold(keyOf(name), undefined)
  }

  #keep(login: WrappedLogin): void {
    const key = keyOf(login)
    setNewest(this.#logins, key, login, MOST_LOGINS)
    this.#lineage.hold(key, login.refresh, login.rotatedAway)
  }
}

function afterSuccess(known: WrappedLogin, { outcome, sent, received, access, expiresAt }: EndedRefresh, now: number): WrappedLogin {
  const isRefreshed = outcome === 'rotated' || outcome === 'renewed'
  const isNewer = isRefreshed || (access !== undefined && access !== known.access)
  // A token that another process has rotated: the one that came shows that the one before is gone.
  const gone = received === undefined ? [] : [known.refresh, isRefreshed ? sent : undefined].filter(token => token !== received)
  const refresh = received ?? known.refresh ?? sent
  const rotatedAway = [...new Set([...gone, ...known.rotatedAway])].filter(
    token => token !== undefined && token !== refresh,
  ) as Fingerprint[]
  return {
    ...known,
    refresh,
    access: access ?? known.access,
    expiresAt: expiresAt ?? (isNewer ? undefined : known.expiresAt),
    // When a token was issued that the first call found is not known.
    issuedAt: isRefreshed || (isNewer && known.access !== undefined) ? now : known.issuedAt,
    generation: known.generation + (isRefreshed || rotatedAway.length > known.rotatedAway.length ? 1 : 0),
    dead: undefined,
    rotatedAway: rotatedAway.slice(0, ROTATED_AWAY_KEPT),
  }
}

function keyOf({ provider, profileId }: LoginName): string {
  return `${provider} ${profileId}`
}

function unknownLogin({ provider, profileId }: LoginName): WrappedLogin {
  return {
    provider,
    profileId,
    isGiven: false,
    access: undefined,
    refresh: undefined,
    expiresAt: undefined,
    issuedAt: undefined,
    generation: 0,
    dead: undefined,
    rotatedAway: [],
  }
}
