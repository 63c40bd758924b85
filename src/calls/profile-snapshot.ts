import { expiryOf, isOAuth, type StoredProfile } from '../domain/credential.ts'
import type { AttemptOutcome, Billing, ProfileState } from '../domain/enums.ts'
import { deadGrant } from '../refresh/refresh-context.ts'
import type { DamagedProfile, StoredRest } from '../store/profile-store.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { type FallbackReason, reasonOfSkip } from './fallback.ts'
import type { LastProbe, ProbeState } from './probe-state.ts'
import type { ProfileCache } from './profile-cache.ts'
import type { ProfileStanding } from './profile-choice.ts'
import type { ReportedProfile } from './reported-profiles.ts'

/** Why a profile rests, for which models and until when, as an operator may see it. */
export interface RestSnapshot {
  /** The outcome that began it. */
  readonly because: AttemptOutcome
  /** The one model that rests; absent where the profile rests for every model. */
  readonly model?: string
  /** ISO dates: the same whenever they are asked for, which rounded seconds are not. */
  readonly since: string
  readonly until: string
  /** The provider named the time; otherwise it is a guess. */
  readonly isPromised: boolean
  readonly consecutiveFailures: number
  /** What the provider answered: HTTP status, its type of error and its code. */
  readonly status?: number
  readonly type?: string
  readonly code?: string
}

/** One profile, as an operator may see it: no token, no e-mail. */
export interface ProfileSnapshot {
  readonly profile: string
  readonly provider: string
  /** `unknown` where what is stored of it is damaged, or an application that reports it does not say. */
  readonly type: StoredProfile['credential']['type'] | 'unknown'
  readonly billing: string
  readonly state: ProfileState
  /** A call could use it now. */
  readonly serves: boolean
  /** Why no call could. */
  readonly whyNot?: FallbackReason
  /** What is damaged in the store, and what to do. */
  readonly fault?: string
  /** Seconds until the access token expires; negative when it has. */
  readonly expiresInSeconds?: number
  readonly generation?: number
  readonly needsLogin?: {
    readonly outcome: string
    readonly since: string
    readonly providerCode?: string
    /** Its access token serves on until then, as an ISO date. */
    readonly servesUntil?: string
  }
  /** Seconds the profile still rests for every model, rounded up. */
  readonly restsForSeconds?: number
  /** When that rest ends, as an ISO date. */
  readonly restsUntil?: string
  /** Every rest under way, the longest first; absent without any. */
  readonly rests?: readonly RestSnapshot[]
  /** The last probe, where there was one. */
  readonly probe?: LastProbe
}

/**
 * What is asked for a snapshot.
 *
 * @internal
 */
interface SnapshotSources {
  readonly telemetry: Telemetry
  readonly profiles: ProfileCache
  readonly probes: ProbeState
  /** Whether the profile could serve a call now. */
  readonly standing: ProfileStanding
}

/**
 * What a profile can do right now. @param billing How its provider says it pays, where the profile does not say.
 *
 * @internal
 */
export function profileSnapshot(
  profile: StoredProfile,
  billing: Billing | undefined,
  { telemetry, profiles, probes, standing }: SnapshotSources,
): ProfileSnapshot {
  const { credential } = profile
  const expiresAt = expiryOf(credential)
  const rests = profiles.rests.restsOf(profile)
  const forAll = rests.find(({ model }) => model === undefined)
  const probe = probes.lastOf(profile)
  return {
    profile: telemetry.profile(profile.id),
    provider: profile.provider,
    type: credential.type,
    billing: profile.billing ?? billing ?? 'unknown',
    state: profiles.stateOf(profile),
    serves: standing.serves,
    ...(!standing.serves && { whyNot: reasonOfSkip(standing) }),
    ...(expiresAt !== undefined && { expiresInSeconds: Math.round((expiresAt - Date.now()) / 1000) }),
    ...(isOAuth(credential) && { generation: credential.generation }),
    ...needsLoginOf(profile, profiles.servesUntil(profile)),
    ...(forAll && restOf(forAll.until)),
    ...(rests.length > 0 && { rests: rests.map(restSnapshot) }),
    ...(probe && { probe }),
  }
}

/**
 * A profile that is stored and cannot be read.
 *
 * @internal
 */
export function damagedSnapshot({ id, error }: DamagedProfile, telemetry: Telemetry): ProfileSnapshot {
  return {
    profile: telemetry.profile(id),
    provider: 'unknown',
    type: 'unknown',
    billing: 'unknown',
    state: 'damaged',
    serves: false,
    whyNot: 'missing_credential',
    fault: error.message,
  }
}

const WHY_NOT: Readonly<Partial<Record<ProfileState, FallbackReason>>> = {
  resting: 'cooldown',
  needs_login: 'needs_login',
  missing_credential: 'missing_credential',
  damaged: 'missing_credential',
  expired: 'expired',
}

/**
 * A profile of the application's own gateway.
 *
 * @internal
 */
export function reportedSnapshot({
  expiresAt,
  generation,
  restsUntil,
  rests,
  dead,
  isObserved: _,
  ...known
}: ReportedProfile): ProfileSnapshot {
  const whyNot = known.serves ? undefined : (WHY_NOT[known.state] ?? (restsUntil === undefined ? undefined : 'cooldown'))
  return {
    ...known,
    billing: known.billing ?? 'unknown',
    ...(whyNot && { whyNot }),
    ...(expiresAt !== undefined && { expiresInSeconds: Math.round((expiresAt - Date.now()) / 1000) }),
    ...(generation !== undefined && { generation }),
    ...(dead && { needsLogin: { outcome: dead.outcome, since: new Date(dead.since).toISOString() } }),
    ...(restsUntil !== undefined && restOf(restsUntil)),
    ...(rests.length > 0 && { rests: rests.map(restSnapshot) }),
  }
}

function restOf(until: number): Pick<ProfileSnapshot, 'restsForSeconds' | 'restsUntil'> {
  return { restsForSeconds: Math.ceil((until - Date.now()) / 1000), restsUntil: new Date(until).toISOString() }
}

/** What was said of a grant that a login has replaced since is no word about this one. */
function needsLoginOf(profile: StoredProfile, servesUntil: number | undefined): Pick<ProfileSnapshot, 'needsLogin'> {
  const needsLogin = deadGrant(profile)
  if (!needsLogin) return {}
  return {
    needsLogin: {
      outcome: needsLogin.outcome,
      since: new Date(needsLogin.since).toISOString(),
      ...(needsLogin.providerCode && { providerCode: needsLogin.providerCode }),
      ...(servesUntil !== undefined && { servesUntil: new Date(servesUntil).toISOString() }),
    },
  }
}

function restSnapshot({ because, model, since, until, isPromised, consecutiveFailures, answer = {} }: StoredRest): RestSnapshot {
  const { status, type, code } = answer
  return {
    because,
    ...(model !== undefined && { model }),
    since: new Date(since).toISOString(),
    until: new Date(until).toISOString(),
    isPromised,
    consecutiveFailures,
    ...(status !== undefined && { status }),
    ...(type !== undefined && { type }),
    ...(code !== undefined && { code }),
  }
}
