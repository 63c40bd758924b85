import type { NextStep } from '../domain/gateway-error.ts'
import type { FallbackReason } from './fallback.ts'

/** What the operator can do about a profile that did not serve, where waiting is not the answer. */
const NEXT_BY_REASON: Readonly<Partial<Record<FallbackReason, NextStep>>> = {
  needs_login: 'sign_in_again',
  missing_credential: 'sign_in_again',
  invalidated: 'sign_in_again',
  grant_expired: 'sign_in_again',
  interaction_required: 'sign_in_again',
  malformed: 'sign_in_again',
  lost: 'sign_in_again',
  identity_mismatch: 'sign_in_again',
  refused: 'check_client_credentials',
}

/** The same in words, to stand at the end of a message. */
const ADVICE: Readonly<Partial<Record<NextStep, string>>> = {
  sign_in_again: 'Sign in again: gatewatch profiles login',
  check_client_credentials: 'Check the client id and secret of the provider (clientId, clientSecretEnv)',
}

/**
 * What can be done about a call that nobody served, by what became of the profile that was meant to serve it.
 *
 * @param reason Why that profile did not; `undefined` where there is no such profile.
 */
export function nextStepFor(reason: FallbackReason | undefined): NextStep {
  if (reason === undefined) return 'add_profile'
  return NEXT_BY_REASON[reason] ?? 'try_again_later'
}

/** A sentence that says it; empty where the step says all there is. */
export function adviceFor(next: NextStep): string {
  const advice = ADVICE[next]
  return advice === undefined ? '' : `. ${advice}`
}
