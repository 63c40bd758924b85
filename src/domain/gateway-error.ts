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
  | 'GW_NEEDS_LOGIN'
  | 'GW_REFRESH_FAILED'
  | 'GW_REFRESH_BACKOFF'
  | 'GW_VISIT_TIMEOUT'
  | 'GW_VISIT_ABORTED'
  | 'GW_PERMIT'
  | 'GW_NO_PROFILE'
  | 'GW_ALL_PROFILES_FAILED'
  | 'GW_BAD_REQUEST'
  | 'GW_TOO_LARGE'
  | 'GW_UNAUTHORIZED'
  | 'GW_UPSTREAM'
  | 'GW_ABORTED'
  | 'GW_CLOSED'

/** What the person or program that sees the error can do. */
export const NEXT_STEPS = [
  'sign_in_again',
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

export interface GatewayErrorOptions {
  next: NextStep
  cause?: unknown
  /** Milliseconds until another try makes sense. */
  retryAfterMs?: number
}

/**
 * The one error class of Gatewatch.
 *
 * The message never holds a token, key, header or body value; it is written where the error is born and says what to
 * do next. `cause` keeps what was caught.
 */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: GatewayErrorCode
  readonly next: NextStep
  readonly retryAfterMs: number | undefined

  constructor(code: GatewayErrorCode, message: string, { next, cause, retryAfterMs }: GatewayErrorOptions) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.next = next
    this.retryAfterMs = retryAfterMs
  }
}

/** Says whether `error` is ours and, when codes are given, one of them. */
export function isGatewayError(error: unknown, ...codes: GatewayErrorCode[]): error is GatewayError {
  return error instanceof GatewayError && (codes.length === 0 || codes.includes(error.code))
}

/**
 * Names an error for telemetry without its text.
 *
 * @returns Our code, a system code such as `ECONNRESET`, else the error's class name.
 */
export function errorType(error: unknown): string {
  if (error instanceof GatewayError) return error.code
  if (error instanceof Error) {
    const { code } = error as { code?: unknown }
    return typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,40}$/.test(code) ? code : error.name
  }
  return typeof error
}
