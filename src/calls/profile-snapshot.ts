import type { Billing, ProfileState } from '../../otel/words.ts'
import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { LastProbe, ProbeBook } from './probe-book.ts'
import type { ProfileBook } from './profile-book.ts'

/** One profile, as an operator may see it: no token, no e-mail. */
export interface ProfileSnapshot {
  readonly profile: string
  readonly provider: string
  readonly type: StoredProfile['credential']['type']
  readonly billing: string
  readonly state: ProfileState
  /** Seconds until the access token expires; negative when it has. */
  readonly expiresInSeconds?: number
  readonly generation?: number
  readonly needsLogin?: { readonly outcome: string; readonly since: string; readonly providerCode?: string }
  /** Seconds the profile still rests, rounded up. */
  readonly restsForSeconds?: number
  /** When its rest ends, as an ISO date: the same whenever it is asked for, which the rounded seconds are not. */
  readonly restsUntil?: string
  /** The last probe, where there was one. */
  readonly probe?: LastProbe
}

/** What is asked for a snapshot. */
export interface SnapshotSources {
  readonly telemetry: Telemetry
  readonly book: ProfileBook
  readonly probes: ProbeBook
}

/** What a profile can do right now. @param billing How its provider says it pays, where the profile does not say. */
export function profileSnapshot(
  profile: StoredProfile,
  billing: Billing | undefined,
  { telemetry, book, probes }: SnapshotSources,
): ProfileSnapshot {
  const { credential, needsLogin } = profile
  const expiresAt = credential.type === 'api_key' ? undefined : credential.expiresAt
  const cooldown = book.cooldownOf(profile.id)
  const probe = probes.lastOf(profile.id)
  return {
    profile: telemetry.profile(profile.id),
    provider: profile.provider,
    type: credential.type,
    billing: profile.billing ?? billing ?? 'unknown',
    state: book.stateOf(profile),
    ...(expiresAt !== undefined && { expiresInSeconds: Math.round((expiresAt - Date.now()) / 1000) }),
    ...(isOAuth(credential) && { generation: credential.generation }),
    ...(needsLogin && {
      needsLogin: {
        outcome: needsLogin.outcome,
        since: new Date(needsLogin.since).toISOString(),
        ...(needsLogin.providerCode && { providerCode: needsLogin.providerCode }),
      },
    }),
    ...(cooldown.state === 'resting' &&
      book.isResting(profile.id) && {
        restsForSeconds: Math.ceil((cooldown.until - Date.now()) / 1000),
        restsUntil: new Date(cooldown.until).toISOString(),
      }),
    ...(probe && { probe }),
  }
}
