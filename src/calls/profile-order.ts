import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import type { AttemptOutcome, Billing, CredentialType, Protocol, SkipReason, TokenRequestOutcome } from '../domain/enums.ts'
import { isTokenUsable, tokenLifeOf } from '../domain/profile-state.ts'
import type { Provider } from '../providers/provider.ts'
import { pathOf } from './endpoint.ts'

/** A profile that may try, and how it pays. */
export interface Candidate {
  readonly profile: StoredProfile
  readonly provider: Provider
  readonly billing: Billing
}

/** A profile that was passed over, and why. */
export interface Skipped extends Candidate {
  readonly reason: SkipReason
  /** What rests it, or how its refresh failed. */
  readonly because?: AttemptOutcome | TokenRequestOutcome
  readonly providerCode?: string
  /** Ms until it may serve again by itself. */
  readonly waitMs?: number
  /** Ms until it is tried again, where that is sooner. */
  readonly retryMs?: number
}

/** What keeps a profile from serving for a while. */
export interface Hindrance {
  readonly because: AttemptOutcome | TokenRequestOutcome
  readonly waitMs: number
  readonly providerCode?: string
}

export interface OrderQuestion {
  readonly profiles: readonly StoredProfile[]
  /** `undefined` for a provider that is not configured here: another process that shares the store may have its own. */
  readonly providerOf: (id: string) => Provider | undefined
  readonly protocol: Protocol
  /** Profile ids in the operator's order; profiles not named are left out. */
  readonly order?: readonly string[]
  readonly provider?: string
  readonly profile?: string
  /** A further language the provider must speak. */
  readonly speaking?: Protocol
  /** Whether a subscription's call may go on to a metered profile. */
  readonly metered: 'allow' | 'deny'
  /** What rests the profile, for calls of this model. */
  readonly restOf: (profile: StoredProfile) => Hindrance | undefined
  /** Why a refresh of its login, where it needs one, brings no token right now. */
  readonly pauseOf: (profile: StoredProfile) => Hindrance | undefined
  /** The provider refused the very token that it holds: it needs a refresh although the token has not expired. */
  readonly isRefused: (profile: StoredProfile) => boolean
  /** Only a new login helps. */
  readonly isDead: (profile: StoredProfile) => boolean
  /** When the profile was used last, any rising number; 0 for never. */
  readonly lastUsed: (profileId: string) => number
  /** Epoch milliseconds. */
  readonly now: number
}

/**
 * Who tries, in this order; who does not, and why. `preferred` is who would have tried first if all were well,
 * `isLastResort` says that those who try are resting, for want of anybody else.
 */
export type Order = {
  readonly skipped: readonly Skipped[]
  readonly preferred: Candidate | undefined
} & (
  | { readonly isLastResort: false; readonly candidates: readonly Candidate[] }
  | { readonly isLastResort: true; readonly candidates: readonly Skipped[] }
)

const BY_TYPE: Readonly<Record<CredentialType, number>> = { oauth: 0, token: 1, api_key: 2 }

/**
 * Decides which profiles try a call, in which order.
 *
 * The operator's order, else OAuth before token before API key, and among equals the one used least recently. A profile
 * rests in favour of another, never in favour of nothing: when all that could serve are resting, they try after all.
 */
export function orderProfiles(question: OrderQuestion): Order {
  const speaking = question.profiles.flatMap(profile => asCandidate(profile, question) ?? [])
  const { named, unnamed } = splitByOrder(speaking, question)
  const preferred = named[0]
  const skipped: Skipped[] = unnamed.map(candidate => ({ ...candidate, reason: 'excluded_by_order' }))
  const resting: Skipped[] = []
  const candidates: Candidate[] = []
  for (const candidate of named) {
    const hindered = skipOf(candidate, preferred, question)
    if (hindered?.reason === 'cooldown') resting.push({ ...candidate, ...hindered })
    else if (hindered) skipped.push({ ...candidate, ...hindered })
    else candidates.push(candidate)
  }
  if (candidates.length === 0 && resting.length > 0) return { candidates: resting, skipped, preferred, isLastResort: true }
  return { candidates, skipped: [...skipped, ...resting], preferred, isLastResort: false }
}

function asCandidate(
  profile: StoredProfile,
  { protocol, speaking, provider: wanted, profile: pinned, providerOf }: OrderQuestion,
): Candidate | undefined {
  if ((wanted !== undefined && profile.provider !== wanted) || (pinned !== undefined && profile.id !== pinned)) return undefined
  const provider = providerOf(profile.provider)
  if (!provider || !pathOf(provider, protocol) || (speaking && !pathOf(provider, speaking))) return undefined
  return { profile, provider, billing: profile.billing ?? provider.billingOf(profile.credential) }
}

function splitByOrder(candidates: readonly Candidate[], { order, lastUsed }: OrderQuestion): { named: Candidate[]; unnamed: Candidate[] } {
  if (!order) {
    const rank = ({ profile }: Candidate) => BY_TYPE[profile.credential.type]
    return { named: candidates.toSorted((a, b) => rank(a) - rank(b) || lastUsed(a.profile.id) - lastUsed(b.profile.id)), unnamed: [] }
  }
  const place = ({ profile }: Candidate) => order.indexOf(profile.id)
  return {
    named: candidates.filter(candidate => place(candidate) >= 0).sort((a, b) => place(a) - place(b)),
    unnamed: candidates.filter(candidate => place(candidate) < 0),
  }
}

/** Why a profile cannot serve now: the one rule for calls, readiness, status, page and gauges. */
function skipOf(
  { profile, provider, billing }: Candidate,
  preferred: Candidate | undefined,
  { metered, isDead, restOf, pauseOf, isRefused, now }: OrderQuestion,
): Pick<Skipped, 'reason' | 'because' | 'waitMs' | 'providerCode'> | undefined {
  if (metered === 'deny' && billing === 'metered' && preferred?.billing === 'subscription') return { reason: 'billing_denied' }
  const reason = credentialSkipOf({ profile, provider }, now, isDead)
  if (reason) return { reason }
  const rest = restOf(profile)
  if (rest) return { reason: 'cooldown', ...rest }
  const needsRefresh = !isTokenUsable(profile.credential, now) || isRefused(profile)
  const pause = needsRefresh ? pauseOf(profile) : undefined
  return pause && { reason: 'refresh_paused', ...pause }
}

/** Why the stored credential alone keeps a profile from serving. */
function credentialSkipOf(
  { profile, provider }: Pick<Candidate, 'profile' | 'provider'>,
  now: number,
  isDead: OrderQuestion['isDead'],
): Skipped['reason'] | undefined {
  const { credential } = profile
  const life = tokenLifeOf(credential, now)
  if (isOAuth(credential)) {
    if (!provider.oauth) return 'mode_mismatch'
    if (isDead(profile)) return 'needs_login'
    return life === 'missing' && !credential.refresh ? 'missing_credential' : undefined
  }
  if (life === 'missing') return 'missing_credential'
  return life === 'expired' ? 'expired' : undefined
}
