import type { Credential, StoredProfile } from '../domain/credential.ts'
import {
  type AttemptOutcome,
  BILLINGS,
  type Billing,
  CREDENTIAL_TYPES,
  type CredentialType,
  PROFILE_STATES,
  type ProfileState,
} from '../domain/enums.ts'
import { configError } from '../domain/gateway-error.ts'
import { profileStateOf } from '../domain/profile-state.ts'
import type { WrappedLogin, WrappedLogins } from '../refresh/wrapped-logins.ts'
import type { StoredRest } from '../store/profile-store.ts'
import { COUNT, FLAG, type GivenFields, isGivenWell, MOMENT, momentOf, NAME, oneWordOf, optional } from '../telemetry/given-fields.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { setNewest } from '../tools/drop-oldest.ts'
import { settledWithin } from '../tools/time-limit.ts'
import { RestState } from './rest-state.ts'

/** A profile of the application as `observeProfiles` reads it. It holds no token: what is not listed here is not read. */
export interface ObservedProfile {
  /** Its id: the one that wrappers and notes name. */
  readonly profile: string
  readonly provider: string
  /** @default 'oauth' where it has an expiry or a generation, else unknown */
  readonly type?: CredentialType
  readonly billing?: Billing
  /** @default by expiry, rest, and what wrapped refreshes and notes have shown */
  readonly state?: ProfileState
  /** Whether a call could use it now. @default by its state */
  readonly serves?: boolean
  /** When the access token expires: epoch ms, or a date. */
  readonly expiresAt?: number | Date
  /** Rotations of its refresh token so far. */
  readonly generation?: number
  /** Until when calls leave it alone, for a rest or a used-up quota: epoch ms, or a date. */
  readonly restsUntil?: number | Date
}

/** Reads the profiles of the application: at each scrape, and every 15 s. */
export type ReadProfiles = () => readonly ObservedProfile[] | Promise<readonly ObservedProfile[]>

/** A profile of the application, put together from what it lets be observed and what it has noted. */
export interface ReportedProfile {
  /** Its name as telemetry may show it. */
  readonly profile: string
  readonly provider: string
  readonly type: CredentialType | 'unknown'
  readonly billing: Billing | undefined
  readonly state: ProfileState
  readonly serves: boolean
  /** The application lets its profiles be observed: then what is absent is not there, and whether a provider is served is known. */
  readonly isObserved: boolean
  /** Epoch ms. */
  readonly expiresAt: number | undefined
  readonly generation: number | undefined
  readonly restsUntil: number | undefined
  readonly rests: readonly StoredRest[]
  /** Its last refresh was refused for good. */
  readonly dead: WrappedLogin['dead']
}

const FIELDS = {
  profile: NAME,
  provider: NAME,
  type: optional(oneWordOf(CREDENTIAL_TYPES)),
  billing: optional(oneWordOf(BILLINGS)),
  state: optional(oneWordOf(PROFILE_STATES)),
  serves: optional(FLAG),
  expiresAt: optional(MOMENT),
  generation: optional(COUNT),
  restsUntil: optional(MOMENT),
} satisfies Record<keyof ObservedProfile, unknown> & GivenFields

const PLACE = 'observeProfiles'
/** A scrape waits no longer than this for the application's own callback, in ms. */
const READING_MS = 1_000
/** Profiles remembered by notes; the oldest go first. */
const MOST_NOTED = 1_000
const SERVING: ReadonlySet<ProfileState> = new Set(['ready', 'expiring', 'expired', 'not_persisted'])

interface ReportedProfilesOptions {
  readonly telemetry: Telemetry
  /** Logins behind wrapped refresh functions. */
  readonly logins: WrappedLogins
  /** How long before its expiry a token counts as expiring, in ms. */
  readonly earlyMs: number
  readonly clock?: Clock
}

/** The profiles of an application that has a gateway of its own: what it lets be observed, and what it notes. */
export class ReportedProfiles {
  readonly #telemetry: Telemetry
  readonly #logins: WrappedLogins
  readonly #earlyMs: number
  readonly #clock: Clock
  readonly #readers = new Set<Reader>()
  /** Providers of the profiles that notes have named, by profile id. */
  readonly #noted = new Map<string, string>()
  readonly #rests: RestState
  #observed: ReadonlyMap<string, ObservedProfile> = new Map()

  constructor({ telemetry, logins, earlyMs, clock = systemClock }: ReportedProfilesOptions) {
    this.#telemetry = telemetry
    this.#logins = logins
    this.#earlyMs = earlyMs
    this.#clock = clock
    this.#rests = new RestState({ clock })
  }

  /** Reads profiles with `read` from now on. @returns ends that @throws {GatewayError} `GW_CONFIG` for what is no function. */
  observe(read: ReadProfiles): () => void {
    if (typeof read !== 'function')
      throw configError(`${PLACE}: got a value of type ${typeof read}, allowed: a function that returns profiles`)
    const reader = new Reader(read, this.#telemetry)
    this.#readers.add(reader)
    return () => void this.#readers.delete(reader)
  }

  /** What was last observed of a profile. */
  lastObserved(profileId: string): ObservedProfile | undefined {
    return this.#observed.get(profileId)
  }

  /** The provider of a profile, where it was observed or noted. */
  providerOf(profileId: string): string | undefined {
    return this.#observed.get(profileId)?.provider ?? this.#noted.get(profileId)
  }

  /** The profile rests until then, epoch ms; a moment that is over ends its rest. */
  rests(profileId: string, { provider, because, until }: { provider: string; because: AttemptOutcome; until: number }): void {
    this.#note(profileId, provider)
    const profile = standIn({ profile: profileId, provider })
    const retryAfterMs = until - this.#clock.now()
    if (retryAfterMs <= 0) this.#endRests(profile)
    else this.#rests.failed(profile, this.#rests.begin(), { outcome: because, retryAfterMs })
  }

  /** A user has signed in: what was noted of the login before says nothing about this one. */
  loggedIn(profileId: string, provider: string): void {
    this.#note(profileId, provider)
    this.#logins.loggedIn({ provider, profileId })
    this.#endRests(standIn({ profile: profileId, provider }))
  }

  /** A user has signed out: nothing noted of the profile is shown any more. */
  loggedOut(profileId: string, provider: string): void {
    this.#noted.delete(profileId)
    this.#logins.loggedOut({ provider, profileId })
    this.#rests.retain(new Set(this.#noted.keys()))
  }

  /** Every profile that is known by now. Never rejects. */
  async all(): Promise<readonly ReportedProfile[]> {
    const lists = await Promise.all([...this.#readers].map(reader => reader.read()))
    this.#observed = new Map(lists.flat().map(observed => [observed.profile, observed]))
    const noted = [...this.#noted].map(([profile, provider]) => ({ profile, provider }))
    const refreshed = this.#logins.given().map(({ profileId: profile, provider }) => ({ profile, provider }))
    const known = new Map<string, ObservedProfile>([...noted, ...refreshed, ...this.#observed.values()].map(one => [one.profile, one]))
    return [...known.values()].map(one => this.#reported(one))
  }

  #reported(known: ObservedProfile): ReportedProfile {
    const now = this.#clock.now()
    const login = this.#logins.of({ provider: known.provider, profileId: known.profile })
    const expiresAt = known.expiresAt === undefined ? login?.expiresAt : momentOf(known.expiresAt)
    const generation = known.generation ?? (login?.isGiven ? login.generation : undefined)
    // By name alone: a rest is not bound to a token that is never seen here.
    const rests = this.#rests.restsOf(standIn({ profile: known.profile, provider: known.provider }))
    const restsUntil = Math.max(known.restsUntil === undefined ? 0 : momentOf(known.restsUntil), rests[0]?.until ?? 0)
    const isResting = restsUntil > now
    const { credential } = standIn({ ...known, ...(expiresAt !== undefined && { expiresAt }) })
    const isDead = login?.dead !== undefined
    const question = { credential, now, earlyMs: this.#earlyMs, isDead, isInMemoryOnly: false, isResting }
    const state = known.state ?? profileStateOf(question)
    return {
      profile: this.#telemetry.profile(known.profile),
      provider: known.provider,
      type: known.type ?? (expiresAt === undefined && generation === undefined ? 'unknown' : 'oauth'),
      billing: known.billing,
      state,
      serves: known.serves ?? (SERVING.has(state) && !isResting && !(state === 'expired' && known.type === 'token')),
      isObserved: this.#observed.has(known.profile),
      expiresAt,
      generation,
      restsUntil: isResting ? restsUntil : undefined,
      rests,
      dead: state === 'needs_login' ? login?.dead : undefined,
    }
  }

  #note(profileId: string, provider: string): void {
    setNewest(this.#noted, profileId, provider, MOST_NOTED)
    this.#rests.retain(new Set(this.#noted.keys()))
  }

  #endRests(profile: StoredProfile): void {
    this.#rests.succeeded(profile, this.#rests.begin(), { model: '' })
  }
}

/** One callback of the application. */
class Reader {
  readonly #read: ReadProfiles
  readonly #telemetry: Telemetry
  /** While it has not answered it is not called a second time. */
  #underWay: Promise<readonly ObservedProfile[]> | undefined

  constructor(read: ReadProfiles, telemetry: Telemetry) {
    this.#read = read
    this.#telemetry = telemetry
  }

  /** What can be used of its answer; nothing where it fails or takes too long. Never rejects. */
  async read(): Promise<readonly ObservedProfile[]> {
    this.#underWay ??= this.#ask().finally(() => {
      this.#underWay = undefined
    })
    const profiles = await settledWithin(this.#underWay, READING_MS)
    if (profiles) return profiles
    this.#telemetry.faults.report(`${PLACE} in time`, configError(`${PLACE}: its callback did not answer within ${READING_MS / 1000} s`))
    return []
  }

  async #ask(): Promise<readonly ObservedProfile[]> {
    const { faults } = this.#telemetry
    try {
      const profiles: unknown = await this.#read()
      if (!Array.isArray(profiles))
        throw configError(`${PLACE}: its callback returned a value of type ${typeof profiles}, allowed: an array of profiles`)
      return profiles.filter((profile): profile is ObservedProfile => isGivenWell(faults, PLACE, profile, FIELDS))
    } catch (fault) {
      faults.report(`the callback of ${PLACE}`, fault)
      return []
    }
  }
}

/** A profile as states and rests are judged, without any token. */
function standIn({ profile: id, provider, type = 'oauth', expiresAt, generation = 0 }: ObservedProfile): StoredProfile {
  const life = expiresAt === undefined ? {} : { expiresAt: momentOf(expiresAt) }
  const credentials = {
    oauth: { type: 'oauth', access: 'held by the application', generation, ...life },
    token: { type: 'token', token: 'held by the application', ...life },
    api_key: { type: 'api_key', key: 'held by the application' },
  } as const satisfies Record<CredentialType, Credential>
  return { id, provider, credential: credentials[type] }
}
