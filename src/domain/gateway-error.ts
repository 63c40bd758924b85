import type { TokenRequestOutcome } from './enums.ts'

/** Everything that can go wrong in Gatewatch, by code. Match on `code`, never on text. */
export type GatewayErrorCode =
  | 'GW_CONFIG'
  | 'GW_STORE_UNREADABLE'
  | 'GW_STORE_DAMAGED'
  | 'GW_STORE_NEWER'
  | 'GW_STORE_UNWRITABLE'
  | 'GW_STORE_CONFLICT'
  | 'GW_LEASE_TIMEOUT'
  | 'GW_PROFILE_UNKNOWN'
  | 'GW_PROFILE_IN_USE'
  | 'GW_NEEDS_LOGIN'
  | 'GW_LOGIN_FAILED'
  | 'GW_REVOKE_FAILED'
  | 'GW_REFRESH_FAILED'
  | 'GW_REFRESH_BACKOFF'
  | 'GW_ACQUIRE_TIMEOUT'
  | 'GW_ACQUIRE_ABORTED'
  | 'GW_PERMIT'
  | 'GW_NO_PROFILE'
  | 'GW_ALL_PROFILES_FAILED'
  | 'GW_BAD_REQUEST'
  | 'GW_TOO_LARGE'
  | 'GW_OVERLOADED'
  | 'GW_UNAUTHORIZED'
  | 'GW_UPSTREAM'
  | 'GW_ABORTED'
  | 'GW_CLOSED'
  /** The process ends and takes a rotated token with it that the store could not take. */
  | 'GW_NOT_PERSISTED'
  /** Given to the application itself, whose token request was not sent. */
  | 'GATEWATCH_BYPASS'

/** What the person or program that sees the error can do. */
export const NEXT_STEPS = [
  'sign_in_again',
  'check_client_credentials',
  'replace_key',
  'try_again_later',
  'free_disk_space',
  'fix_permissions',
  'fix_configuration',
  'restore_store',
  'upgrade_gatewatch',
  'check_network',
  'check_account',
  'add_profile',
  'fix_request',
  'nothing',
] as const
export type NextStep = (typeof NEXT_STEPS)[number]

/** What an error says in addition to its code and message. */
export interface GatewayErrorOptions {
  next: NextStep
  cause?: unknown
  /** Milliseconds until another try makes sense. */
  retryAfterMs?: number
  /** How the refresh ended that the error describes. */
  outcome?: TokenRequestOutcome
  /** The process that has what was waited for. */
  heldBy?: number
}

/**
 * The one error class of Gatewatch.
 *
 * The message never holds a token, key, header or body value; it is written where the error is born and says what to
 * do next. `cause` keeps what was caught.
 *
 * @example
 * import { createGatewatch, GatewayError } from 'gatewatch'
 *
 * await createGatewatch({ order: ['unknown'] }).catch(error => {
 *   if (error instanceof GatewayError) console.log(error.code, error.next)
 * })
 */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: GatewayErrorCode
  readonly next: NextStep
  readonly retryAfterMs: number | undefined
  readonly outcome: TokenRequestOutcome | undefined
  readonly heldBy: number | undefined

  constructor(code: GatewayErrorCode, message: string, { next, cause, retryAfterMs, outcome, heldBy }: GatewayErrorOptions) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.next = next
    this.retryAfterMs = retryAfterMs
    this.outcome = outcome
    this.heldBy = heldBy
  }
}

/** The error for settings, options or arguments that cannot be used. */
export function configError(message: string, cause?: unknown): GatewayError {
  return new GatewayError('GW_CONFIG', message, { next: 'fix_configuration', cause })
}

/** Says whether `error` is ours and, when codes are given, one of them. */
export function isGatewayError(error: unknown, ...codes: GatewayErrorCode[]): error is GatewayError {
  return error instanceof GatewayError && (codes.length === 0 || codes.includes(error.code))
}

/** `ECONNRESET`, `UND_ERR_SOCKET`, `ERR_HTTP2_ERROR`: words with a digit or two at most. */
const SYSTEM_CODE = /^(?=.{3,48}$)[A-Z]+(?:\d{1,3}[A-Z]*)?(?:_[A-Z]+(?:\d{1,3}[A-Z]*)?)*$/
/** Camel case that says it is an error: `TypeError`, `APIConnectionError`, `OAuth2Error`. */
const ERROR_NAME = /^(?:[A-Z][a-z]*\d?){0,24}(?:Error|Exception|Warning)$/

/**
 * Names an error for telemetry without its text.
 *
 * @returns Our code, a system code such as `ECONNRESET`, the error's name where it is one (`TypeError`), else `Error`: the
 *   name of another library's error can contain anything.
 */
export function errorType(error: unknown): string {
  if (error instanceof GatewayError) return error.code
  if (error instanceof Error) {
    const { code } = error as { code?: unknown }
    if (typeof code === 'string' && SYSTEM_CODE.test(code)) return code
    return ERROR_NAME.test(error.name) ? error.name : 'Error'
  }
  return typeof error
}
