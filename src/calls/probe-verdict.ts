import type { ProbeOutcome } from '../domain/enums.ts'

/**
 * What an outcome says about the profile. `good`: it can serve. `dead`: its credential does not work. `unrefreshed`: the
 * gate could not get it a fresh token, which may pass. `troubled`: the provider fails, which says nothing about the
 * credential. `silent`: the request or the settings stood in the way, and nothing was learnt.
 */
export type ProbeVerdict = 'good' | 'dead' | 'unrefreshed' | 'troubled' | 'silent'

/** Every outcome with its verdict. */
export const VERDICTS = {
  ok: 'good',
  auth: 'dead',
  auth_permanent: 'dead',
  billing: 'dead',
  rate_limit: 'troubled',
  overloaded: 'troubled',
  timeout: 'troubled',
  server_error: 'troubled',
  // A provider without a listing of models answers so to every probe.
  format: 'silent',
  model_not_found: 'silent',
  aborted: 'silent',
  needs_login: 'dead',
  missing_credential: 'dead',
  expired: 'dead',
  cooldown: 'silent',
  mode_mismatch: 'silent',
  excluded_by_order: 'silent',
  billing_denied: 'silent',
  refresh_paused: 'unrefreshed',
  rotated: 'good',
  renewed: 'good',
  granted: 'good',
  reused: 'good',
  pending: 'silent',
  not_persisted: 'good',
  invalidated: 'dead',
  grant_expired: 'dead',
  interaction_required: 'dead',
  malformed: 'dead',
  lost: 'dead',
  identity_mismatch: 'dead',
  refused: 'unrefreshed',
  forbidden: 'unrefreshed',
  redirected: 'unrefreshed',
  unreadable: 'unrefreshed',
  application_error: 'unrefreshed',
  throttled: 'unrefreshed',
  unavailable: 'unrefreshed',
  contention: 'unrefreshed',
  cancelled: 'silent',
  blocked: 'silent',
} as const satisfies Record<ProbeOutcome, ProbeVerdict>

/** Says whether the outcome is a failure for reasons of the credential: the only kind probe and calls can disagree about. */
export function failsByCredential(outcome: ProbeOutcome): boolean {
  const verdict: ProbeVerdict = VERDICTS[outcome]
  return verdict === 'dead' || verdict === 'unrefreshed'
}
