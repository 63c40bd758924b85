import type { TokenRequestOutcome } from './enums.ts'

/** How long an outcome lasts: a success, a failure that trying again cannot mend, or one that may pass. */
type Duration = 'success' | 'permanent' | 'transient'

/** Every outcome with its duration. A permanent one ends in `needs_login`; a transient one backs off. */
export const OUTCOME_DURATION = {
  rotated: 'success',
  renewed: 'success',
  granted: 'success',
  reused: 'success',
  pending: 'success',
  invalidated: 'permanent',
  grant_expired: 'permanent',
  interaction_required: 'permanent',
  malformed: 'permanent',
  lost: 'permanent',
  identity_mismatch: 'permanent',
  needs_login: 'permanent',
  // The client or the request is at fault, not the grant: it works again once the configuration is right.
  refused: 'transient',
  forbidden: 'transient',
  redirected: 'transient',
  unreadable: 'transient',
  throttled: 'transient',
  unavailable: 'transient',
  timeout: 'transient',
  contention: 'transient',
  cancelled: 'transient',
  application_error: 'transient',
  // Only a bypass ends so, under the policy `enforce`: nothing was sent, and the gate is open.
  blocked: 'transient',
  // The token is good and serves from memory; only the disk failed.
  not_persisted: 'success',
} as const satisfies Record<TokenRequestOutcome, Duration>

/** Says whether only a new login can help. */
export function isPermanent(outcome: TokenRequestOutcome): boolean {
  return OUTCOME_DURATION[outcome] === 'permanent'
}

/** Says whether it ended with what was asked for. */
export function isSuccess(outcome: TokenRequestOutcome): boolean {
  return OUTCOME_DURATION[outcome] === 'success'
}
