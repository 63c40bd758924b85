import type { CallerSite } from '../domain/caller-site.ts'
import { durationOf } from '../domain/duration-text.ts'
import type { OAuthOperation, OperationOutcome } from '../domain/enums.ts'
import { GatewayError, type GatewayErrorCode, type GatewayErrorOptions, isGatewayError, type NextStep } from '../domain/gateway-error.ts'
import { type EventFields, OpenEvent, withinEvent } from '../telemetry/open-event.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { TokenVerdict } from '../token-requests/judge.ts'
import type { RefusedRequest, UnansweredRequest } from '../token-requests/oauth-request.ts'
import type { SentShape } from '../token-requests/sent-shape.ts'

/** An OAuth operation in addition to the refresh that did not come to its end. */
export class OperationError extends GatewayError {
  /** How it ended, as telemetry counts it. */
  readonly ended: OperationOutcome
  /** What the page said at which the user was to sign in, in the words of RFC 6749 section 4.1.2.1. */
  readonly pageCode: string | undefined

  constructor(
    ended: OperationOutcome,
    code: Extract<GatewayErrorCode, 'GW_LOGIN_FAILED' | 'GW_REVOKE_FAILED' | 'GW_ABORTED'>,
    message: string,
    { pageCode, ...options }: GatewayErrorOptions & { pageCode?: string },
  ) {
    super(code, message, options)
    this.ended = ended
    this.pageCode = pageCode
  }
}

/** How an operation ended that threw this. */
function outcomeOfError(error: unknown): Exclude<OperationOutcome, 'ok'> {
  if (error instanceof OperationError && error.ended !== 'ok') return error.ended
  if (isGatewayError(error, 'GW_ABORTED') || (error instanceof Error && error.name === 'AbortError')) return 'cancelled'
  return isGatewayError(error) && error.code.startsWith('GW_STORE_') ? 'not_persisted' : 'failed'
}

/** The error for a caller that gave a login up. */
export function loginGivenUp(cause?: unknown): OperationError {
  return new OperationError('cancelled', 'GW_ABORTED', 'the login was given up; nothing was stored', { next: 'nothing', cause })
}

/** The error for a login that the person did not finish in time. */
export function loginTooLate(afterMs: number): OperationError {
  return new OperationError(
    'expired',
    'GW_LOGIN_FAILED',
    `sign-in timed out after ${durationOf(afterMs)}; nothing was stored. Run gatewatch profiles login again`,
    { next: 'sign_in_again' },
  )
}

/** The error for a request of a login that a provider refused, or did not answer. */
export function loginRefused(providerId: string, what: string, answer: RefusedRequest | UnansweredRequest): OperationError {
  if (answer.kind === 'unanswered') {
    if (answer.outcome === 'cancelled') return loginGivenUp(answer.cause)
    const isLate = answer.outcome === 'timeout'
    const why = isLate ? 'it did not answer in time' : answer.errorType
    return failed(
      isLate ? 'timeout' : 'unavailable',
      `${providerId} could not be asked ${what} (${why}); nothing was stored`,
      'check_network',
      answer.cause,
    )
  }
  const { status, verdict } = answer
  const code = verdict.providerCode
  const said = code === undefined ? `status ${status}` : `${code}, status ${status}`
  const [ended, next] = endOfRefusal(verdict)
  return failed(ended, `${providerId} refused ${what} (${said}); nothing was stored. ${ADVICE[next] ?? ''}`.trim(), next)
}

/** How an operation ends that is refused so, and what to do about it. */
export function endOfRefusal({ outcome, providerCode = '' }: TokenVerdict): [OperationOutcome, NextStep] {
  if (providerCode === 'access_denied') return ['denied', 'sign_in_again']
  if (CONFIGURED_WRONG.has(providerCode)) return ['refused', 'fix_configuration']
  switch (outcome) {
    case 'unavailable':
    case 'throttled':
    case 'redirected':
      return ['unavailable', 'try_again_later']
    case 'grant_expired':
      return ['expired', 'sign_in_again']
    case 'refused':
      return ['refused', 'check_client_credentials']
    default:
      return ['refused', 'sign_in_again']
  }
}

const CONFIGURED_WRONG = new Set(['invalid_scope', 'unsupported_grant_type', 'redirect_uri_mismatch', 'device_flow_disabled'])

const ADVICE: Partial<Record<NextStep, string>> = {
  try_again_later: 'Try again later',
  sign_in_again: 'Begin again: gatewatch profiles login',
  check_client_credentials: 'Check the client id and secret of the provider (clientId, clientSecretEnv)',
  fix_configuration: 'Check clientId, scopes and redirectUrl of the provider',
}

function failed(ended: OperationOutcome, message: string, next: NextStep, cause?: unknown): OperationError {
  return new OperationError(ended, 'GW_LOGIN_FAILED', message, { next, ...(cause !== undefined && { cause }) })
}

/** The event of an OAuth operation in addition to the refresh, under way. */
export type OpenOperation = Pick<OpenEvent<'login'>, 'set'>

/** What is known of an operation when it begins. */
interface OperationFacts extends Pick<EventFields<'login'>, 'loginMethod'> {
  readonly operation: OAuthOperation
  readonly provider: string
  readonly profileId?: string | undefined
  readonly caller: CallerSite
}

/**
 * Runs an OAuth operation as an event of its own: caller, outcome, duration.
 *
 * @returns what `work` returns; `work` is called at once. @throws what it throws.
 */
export function recordOperation<T>(
  telemetry: Telemetry,
  { profileId, caller, ...facts }: OperationFacts,
  work: (operation: OpenOperation) => Promise<T>,
): Promise<T> {
  const profile = profileId === undefined ? undefined : telemetry.profile(profileId)
  const event = new OpenEvent(telemetry, 'login', { ...facts, profile }, { caller })
  // What the application has noted of it knows more than how its function ended.
  const ended = (outcome: OperationOutcome) => {
    if (!('outcome' in event.facts) || event.facts.outcome === undefined) event.set({ outcome })
  }
  return withinEvent(event, async () => {
    try {
      const result = await work(event)
      ended('ok')
      return result
    } catch (error) {
      ended(outcomeOfError(error))
      // The page at which a user signs in is no request of ours: its refusal is known by the error alone.
      if (error instanceof OperationError && error.pageCode !== undefined) event.set({ providerErrorCode: error.pageCode })
      throw error
    }
  })
}

/** What an answer of an OAuth endpoint leaves on the event of its operation; never a value of it. */
interface AnswerTrace {
  readonly shape?: SentShape
  readonly status?: number
  readonly verdict?: TokenVerdict
  readonly requestId?: string
}

/** Notes what was sent, by its shape, and what came back. */
export function recordTokenRequest(operation: OpenOperation, { shape, status, verdict, requestId }: AnswerTrace): void {
  operation.set({
    ...(shape && { requestEncoding: shape.encoding, requestFields: shape.fields }),
    ...(status !== undefined && { httpStatus: status }),
    ...(verdict?.providerCode !== undefined && { providerErrorCode: verdict.providerCode }),
    ...(requestId !== undefined && { providerRequestId: requestId }),
  })
}
