import type { CallerSite } from '../domain/caller-site.ts'
import { isOAuth, type OAuthCredential, type StoredProfile } from '../domain/credential.ts'
import type { Decision, RefreshReason, TokenRequestOutcome } from '../domain/enums.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { isTokenUsable } from '../domain/profile-state.ts'
import { needsRefresh } from './needs-refresh.ts'

/** One caller at the gate. Caller and reason are fields, not flags: no caller passes without both. */
export interface AcquireRequest {
  readonly provider: string
  readonly profileId: string
  readonly caller: CallerSite
  readonly reason: RefreshReason
  /** Fingerprint of the access token the provider rejected: a stored token with another one is newer, and is adopted. */
  readonly rejected?: Fingerprint
  /** Fingerprint of the refresh token that the caller itself holds: where the store holds another one, the caller is behind. */
  readonly held?: Fingerprint
  /** Why the caller itself says it comes, as it may be shown. */
  readonly declaredReason?: string
  /** Ends the caller's waiting, never the refresh. */
  readonly signal?: AbortSignal
  /** Longest wait of this caller, in ms. @default 60_000 */
  readonly deadlineMs?: number
}

/** How an acquisition left the gate: with a token that can be used. */
export interface AcquireResult {
  readonly decision: Exclude<Decision, 'refuse' | 'bypass'>
  readonly profile: StoredProfile
  /** How the refresh ended that this acquisition led or joined. */
  readonly outcome?: TokenRequestOutcome
}

/** What to do with a forced acquisition whose token is still usable and was not rejected. */
export const FORCED_POLICIES = ['reuse', 'refresh'] as const
export type ForcedPolicy = (typeof FORCED_POLICIES)[number]

/** What an acquisition needs, given what is stored now: nothing, the newer token that is there, or a refresh. */
export type AcquireVerdict = 'reuse' | 'adopt' | 'refresh'

interface JudgeAcquireOptions {
  now: number
  earlyMs: number
  forced: ForcedPolicy
}

/**
 * Decides what an acquisition needs. Asked twice: when the acquisition enters, and again under the lease, when another process may
 * have been there first.
 *
 * Reuse beats refresh: only an operator, or a forced acquisition where policy says so, refreshes a token that still works.
 */
export function judgeAcquire(
  credential: OAuthCredential,
  acquisition: Pick<AcquireRequest, 'reason' | 'rejected' | 'held'>,
  { now, earlyMs, forced }: JudgeAcquireOptions,
): AcquireVerdict {
  const need = needsRefresh(credential, now, { earlyMs })
  if (need === 'missing' || need === 'expired') return 'refresh'
  if (acquisition.held && fingerprint(credential.refresh) !== acquisition.held) return need ? 'refresh' : 'adopt'
  if (acquisition.rejected) return fingerprint(credential.access) === acquisition.rejected ? 'refresh' : 'adopt'
  if (acquisition.reason === 'operator') return 'refresh'
  if (acquisition.reason === 'forced') return need || forced === 'refresh' ? 'refresh' : 'reuse'
  return need ? 'refresh' : 'reuse'
}

/** The access token can be sent right now, though another caller may want a newer one. */
export function isUsable(profile: StoredProfile, now: number, rejected?: Fingerprint): boolean {
  const { credential } = profile
  if (!isOAuth(credential)) return isTokenUsable(credential, now)
  return isTokenUsable(credential, now) && (rejected === undefined || fingerprint(credential.access) !== rejected)
}
