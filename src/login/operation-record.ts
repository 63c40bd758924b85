import { type Attributes, type Span, SpanKind } from '@opentelemetry/api'
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_OPERATION_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_PROVIDER_REQUEST_ID,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  SPAN_DEVICE,
  SPAN_EXCHANGE,
  SPAN_LOGIN,
  SPAN_REVOKE,
} from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import type { OAuthOperation } from '../domain/enums.ts'
import { errorType } from '../domain/gateway-error.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { TokenVerdict } from '../token-requests/judge.ts'
import type { SentShape } from '../token-requests/sent-shape.ts'
import { OperationError, outcomeOfError } from './operation-error.ts'

/** The spans of the OAuth operations in addition to the refresh. */
export const OPERATION_SPANS = {
  login: SPAN_LOGIN,
  exchange: SPAN_EXCHANGE,
  device: SPAN_DEVICE,
  revoke: SPAN_REVOKE,
} as const satisfies Record<OAuthOperation, string>

/** What is known of an operation when it begins. */
export interface OperationFacts {
  readonly operation: OAuthOperation
  readonly provider: string
  readonly profileId?: string | undefined
  readonly caller: CallerSite
  readonly attributes?: Attributes
}

/**
 * Runs an OAuth operation under a span of its own and counts it: caller, outcome, duration.
 *
 * @returns what `work` returns; `work` is called at once. @throws what it throws.
 */
export function recordOperation<T>(
  telemetry: Telemetry,
  { operation, provider, profileId, caller, attributes }: OperationFacts,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const startedAt = performance.now()
  const profile = profileId === undefined ? undefined : telemetry.profile(profileId)
  const options = {
    kind: SpanKind.CLIENT,
    attributes: {
      [ATTR_PROVIDER]: provider,
      ...(profile !== undefined && { [ATTR_PROFILE]: profile }),
      ...callerAttributes(caller),
      ...attributes,
    },
  }
  return telemetry.inSpan(OPERATION_SPANS[operation], options, async span => {
    const ended = (failure?: unknown) => {
      const outcome = failure === undefined ? 'ok' : outcomeOfError(failure)
      span.setAttribute(ATTR_OPERATION_OUTCOME, outcome)
      telemetry.instruments.record(
        'operationDuration',
        (performance.now() - startedAt) / 1000,
        {
          provider,
          profile,
          operation,
          outcome,
          caller: caller.label,
          ...(failure !== undefined && { [ATTR_ERROR_TYPE]: errorType(failure) }),
        },
        span.spanContext(),
      )
    }
    try {
      const result = await work(span)
      ended()
      return result
    } catch (error) {
      ended(error ?? new Error('rejected with nothing'))
      // The page at which a user signs in is no request of ours: its refusal is known by the error alone.
      if (error instanceof OperationError && error.pageCode !== undefined) span.setAttribute(ATTR_PROVIDER_ERROR_CODE, error.pageCode)
      throw error
    }
  })
}

/** What an answer of an OAuth endpoint leaves on the span of its operation; never a value of it. */
export interface AnswerTrace {
  readonly shape?: SentShape
  readonly status?: number
  readonly verdict?: TokenVerdict
  readonly requestId?: string
}

/** Notes what was sent, by its shape, and what came back. */
export function recordTokenRequest(span: Span, { shape, status, verdict, requestId }: AnswerTrace): void {
  span.setAttributes({
    ...(shape && { [ATTR_REQUEST_ENCODING]: shape.encoding, [ATTR_REQUEST_FIELDS]: shape.fields }),
    ...(status !== undefined && { [ATTR_HTTP_STATUS]: status }),
    ...(verdict?.providerCode !== undefined && { [ATTR_PROVIDER_ERROR_CODE]: verdict.providerCode }),
    ...(requestId !== undefined && { [ATTR_PROVIDER_REQUEST_ID]: requestId }),
  })
}
