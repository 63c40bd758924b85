import type { CredentialType } from '../domain/enums.ts'
import type { NextStep } from '../domain/gateway-error.ts'
import { ACCOUNT_CODES, REGION_CODE } from '../domain/refusal-codes.ts'
import type { FallbackReason } from './fallback.ts'

/** Why one profile did not serve a call. */
export interface ProfileFailure {
  readonly type: CredentialType
  readonly reason: FallbackReason
  /** What rests it, where `reason` is `cooldown`; how its refresh failed, where it is `refresh_paused`. */
  readonly because?: FallbackReason | undefined
  /** The provider's own code, where it gave one. */
  readonly providerCode?: string | undefined
  /** What the refresh gate said can be done, where it refused. */
  readonly next?: NextStep | undefined
  /** Ms until the profile can serve again by itself, where that is known. */
  readonly waitMs?: number | undefined
  /** Ms until the profile is tried again, where that is sooner. */
  readonly retryMs?: number | undefined
  /** It was meant to serve the call. @default false */
  readonly isPreferred?: boolean
}

/** What the client can do by itself first, then what mends the most; what the operator left out on purpose comes last. */
const FIRST_TO_LAST: readonly NextStep[] = [
  'try_again_later',
  'sign_in_again',
  'check_client_credentials',
  'replace_key',
  'check_account',
  'check_network',
  'free_disk_space',
  'fix_permissions',
  'restore_store',
  'upgrade_gatewatch',
  'fix_request',
  'fix_configuration',
  'add_profile',
  'nothing',
]

/** Steps that leave the other profiles a say: the preferred one is not what has to be mended. */
const NOT_OF_ONE: ReadonlySet<NextStep> = new Set(['try_again_later', 'fix_configuration', 'fix_request', 'nothing'])

/**
 * What to do next after a call that no profile served: what mends the one that was meant to serve, else the first step of
 * the list that any of them needs. Pure.
 */
export function nextStepOf(failures: readonly ProfileFailure[]): NextStep {
  const preferred = failures.find(({ isPreferred }) => isPreferred)
  const step = preferred && stepOf(preferred)
  if (step && !NOT_OF_ONE.has(step)) return step
  const steps = new Set(failures.map(stepOf))
  return FIRST_TO_LAST.find(step => steps.has(step)) ?? 'add_profile'
}

/** Shortest time after which another try makes sense, in ms. */
const SHORTEST_RETRY_MS = 1_000

/**
 * Ms until the first profile serves again by itself, or is tried again where its rest is our own estimate. Where none does,
 * ms until the first of them is tried again, for example after a refused key or an unpaid bill.
 *
 * @returns `undefined` where only an act of the operator helps, and where a profile failed that the next call tries at once.
 */
export function retryAfterOf(failures: readonly ProfileFailure[]): number | undefined {
  const passing = failures.filter(failure => stepOf(failure) === 'try_again_later')
  const waiting = passing.length > 0 ? passing : failures.filter(({ next }) => next !== 'sign_in_again')
  if (passing.some(({ waitMs }) => waitMs === undefined)) return undefined
  const waits = waiting.flatMap(({ waitMs, retryMs }) => retryMs ?? waitMs ?? [])
  return waits.length === 0 ? undefined : Math.max(SHORTEST_RETRY_MS, Math.min(...waits))
}

/** What to do about one profile that did not serve. Pure. */
export function stepOf(failure: ProfileFailure): NextStep {
  const { type, reason, because, providerCode, next } = failure
  if (next !== undefined) return next
  switch (reason) {
    case 'cooldown':
    case 'refresh_paused':
      return because === undefined ? 'try_again_later' : stepOf({ type, reason: because, providerCode })
    case 'needs_login':
    case 'invalidated':
    case 'grant_expired':
    case 'interaction_required':
    case 'malformed':
    case 'lost':
    case 'identity_mismatch':
      return 'sign_in_again'
    case 'refused':
      return 'check_client_credentials'
    case 'missing_credential':
      return type === 'oauth' ? 'sign_in_again' : 'replace_key'
    case 'expired':
      return 'replace_key'
    case 'auth':
      // A token that was refused is refreshed by the next call; a key stays what it is.
      return type === 'oauth' ? 'try_again_later' : 'replace_key'
    case 'auth_permanent':
      return afterPermanentRefusal(type, providerCode)
    case 'billing':
      return 'check_account'
    case 'format':
    case 'model_not_found':
      return 'fix_request'
    case 'billing_denied':
    case 'excluded_by_order':
    case 'mode_mismatch':
      return 'fix_configuration'
    case 'rate_limit':
    case 'overloaded':
    case 'timeout':
    case 'server_error':
    case 'forbidden':
    case 'throttled':
    case 'unavailable':
    case 'contention':
    case 'not_persisted':
    case 'blocked':
    case 'aborted':
    case 'ok':
    case 'rotated':
    case 'renewed':
    case 'granted':
    case 'reused':
    case 'pending':
    case 'redirected':
    case 'unreadable':
    case 'cancelled':
    case 'application_error':
      return 'try_again_later'
    default:
      return reason satisfies never
  }
}

function afterPermanentRefusal(type: CredentialType, code: string | undefined): NextStep {
  if (code === REGION_CODE) return 'check_network'
  if (code !== undefined && ACCOUNT_CODES.has(code)) return 'check_account'
  return type === 'oauth' ? 'sign_in_again' : 'replace_key'
}

/** What to do next, in words for the message of the error; `undefined` where the message says it already. */
export function adviceOf(failures: readonly ProfileFailure[]): string | undefined {
  const next = nextStepOf(failures)
  const reasons = new Set(failures.filter(failure => stepOf(failure) === next).map(({ reason }) => reason))
  if (next !== 'fix_configuration') return ADVICE[next]
  if (reasons.has('billing_denied')) return 'The configuration denies calls of a subscription to profiles that are paid by use: "fallback"'
  return reasons.has('excluded_by_order') ? 'The order leaves every other profile out: gatewatch profiles order' : undefined
}

const ADVICE: Partial<Record<NextStep, string>> = {
  sign_in_again: 'Sign in again: gatewatch profiles login',
  check_client_credentials: 'Check the client id and secret of the provider (clientId, clientSecretEnv)',
  replace_key: 'Replace the key or token that was refused, has expired or is missing',
  check_account: 'Look at the plan, credit and standing of the account at its provider',
  check_network: 'The provider refuses this region: change the way out of the network',
}
