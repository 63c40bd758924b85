import type { Billing, CredentialType, Protocol, SkipReason } from '../../otel/words.ts'
import { bearerOf, expiryOf, isOAuth, type StoredProfile } from '../domain/credential.ts'
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
}

export interface OrderQuestion {
  readonly profiles: readonly StoredProfile[]
  /** `undefined` for a provider nobody configured here: another process that shares the store may have its own. */
  readonly providerOf: (id: string) => Provider | undefined
  readonly protocol: Protocol
  /** Profile ids in the operator's order; profiles not named are left out. */
  readonly order?: readonly string[]
  readonly provider?: string
  readonly profile?: string
  /** A language the provider must speak besides. */
  readonly speaking?: Protocol
  /** Whether a subscription's call may go on to a metered profile. */
  readonly metered: 'allow' | 'deny'
  readonly isResting: (profileId: string) => boolean
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
export interface Order {
  readonly candidates: readonly Candidate[]
  readonly skipped: readonly Skipped[]
  readonly preferred: Candidate | undefined
  readonly isLastResort: boolean
}

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
  const resting: Candidate[] = []
  const candidates: Candidate[] = []
  for (const candidate of named) {
    const reason = skipReason(candidate, preferred, question)
    if (reason) skipped.push({ ...candidate, reason })
    else if (question.isResting(candidate.profile.id)) resting.push(candidate)
    else candidates.push(candidate)
  }
  if (candidates.length === 0) return { candidates: resting, skipped, preferred, isLastResort: resting.length > 0 }
  const passedOver = [...skipped, ...resting.map(candidate => ({ ...candidate, reason: 'cooldown' as const }))]
  return { candidates, skipped: passedOver, preferred, isLastResort: false }
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

function skipReason(
  { profile, provider, billing }: Candidate,
  preferred: Candidate | undefined,
  { metered, isDead, now }: OrderQuestion,
): SkipReason | undefined {
  const { credential } = profile
  if (metered === 'deny' && billing === 'metered' && preferred?.billing === 'subscription') return 'billing_denied'
  if (isOAuth(credential)) {
    if (!provider.oauth) return 'mode_mismatch'
    if (isDead(profile)) return 'needs_login'
    return credential.access || credential.refresh ? undefined : 'missing_credential'
  }
  if (!bearerOf(credential)) return 'missing_credential'
  return (expiryOf(credential) ?? Number.POSITIVE_INFINITY) <= now ? 'expired' : undefined
}
