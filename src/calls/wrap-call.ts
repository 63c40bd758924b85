import { GENAI_OPERATIONS } from '../../otel/genai-semconv.ts'
import { takeCallerSite } from '../callers/caller.ts'
import type { AttemptOutcome } from '../domain/enums.ts'
import { errorType } from '../domain/gateway-error.ts'
import { type AsyncFunction, callWrapped, type Resolved, type ValueOrReader, valueFor } from '../domain/wrapped-function.ts'
import { runInContext } from '../telemetry/active-context.ts'
import { type EventFields, OpenEvent } from '../telemetry/open-event.ts'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import { contextOf, type Telemetry } from '../telemetry/telemetry.ts'

/**
 * How the arguments of another caller's provider call are read. A callback that throws is reported once through `diag` and
 * `onError`, and the call runs as if it were not wrapped.
 */
export interface WrapCallOptions<F extends AsyncFunction> {
  provider: string
  /** Which profile it uses. @default 'unknown' */
  profile?: ValueOrReader<F, string>
  /** @default 'unknown' */
  model?: ValueOrReader<F, string>
}

/**
 * Wraps a provider call that the application wrote: a span with caller site, profile and outcome, and a duration.
 *
 * The call is judged by the HTTP status of its result or of the error it throws, where there is one.
 *
 * @returns A function with the same `this`, arguments, result and errors.
 */
export function wrapCall<F extends AsyncFunction>(telemetry: Telemetry, send: F, options: WrapCallOptions<F>): F {
  function watched(this: unknown, ...parameters: Parameters<F>): Promise<Resolved<F>> {
    const caller = takeCallerSite(watched)
    const { faults } = telemetry
    const profileId = faults.text('the option wrapCall.profile', () => valueFor(options.profile, parameters))
    const profile = telemetry.profile(profileId ?? 'unknown')
    const model = sanitizeName(faults.text('the option wrapCall.model', () => valueFor(options.model, parameters)) ?? 'unknown')
    const facts = { genaiOperation: GENAI_OPERATIONS.chat_completions, model, provider: options.provider, profile }
    const event = new OpenEvent(telemetry, 'attempt', facts, { caller })
    // What the call brought may have a `status` that throws: the caller gets it all the same.
    const noteEnd = (endOf: () => WrappedEnd) => {
      faults.guard('the record of a provider call', () => event.set(fieldsOf(endOf())), undefined)
      event.end()
    }
    return runInContext(contextOf(event.span), async () => {
      let result: Resolved<F>
      try {
        result = await callWrapped(send, this, parameters)
      } catch (error) {
        noteEnd(() => endOfError(error))
        throw error
      }
      noteEnd(() => endOfResult(result))
      return result
    })
  }
  return watched as F
}

/** How the call ended, as far as it shows. */
interface WrappedEnd {
  readonly outcome: AttemptOutcome
  readonly status?: number
  /** Absent when it went well, and when its caller gave it up: neither is an error. */
  readonly failure?: string
}

function fieldsOf({ outcome, status, failure }: WrappedEnd): EventFields<'attempt'> {
  return { outcome, httpStatus: status, errorType: failure, isError: failure !== undefined }
}

function endOfResult(result: unknown): WrappedEnd {
  const status = statusOf(result)
  if (status === undefined) return { outcome: 'ok' }
  if (status < 400) return { outcome: 'ok', status }
  const outcome = judgeStatus(status)
  return { outcome, status, failure: outcome }
}

function endOfError(error: unknown): WrappedEnd {
  const status = statusOf(error) ?? statusOf((error as { response?: unknown } | null)?.response)
  if (status !== undefined) return { outcome: judgeStatus(status), status, failure: judgeStatus(status) }
  if (error instanceof Error && error.name === 'AbortError') return { outcome: 'aborted' }
  if (error instanceof Error && error.name === 'TimeoutError') return { outcome: 'timeout', failure: 'timeout' }
  return { outcome: 'server_error', failure: errorType(error) }
}

/** `status` of a Response, of most SDKs' errors and of node-fetch; `statusCode` of undici and node:http. */
function statusOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { status, statusCode } = value as { status?: unknown; statusCode?: unknown }
  const found = status ?? statusCode
  return typeof found === 'number' && found >= 100 && found < 600 ? found : undefined
}

function judgeStatus(status: number): AttemptOutcome {
  if (status === 401 || status === 403) return 'auth'
  if (status === 402) return 'billing'
  if (status === 404) return 'model_not_found'
  if (status === 408 || status === 504) return 'timeout'
  if (status === 429) return 'rate_limit'
  if (status === 503 || status === 529) return 'overloaded'
  return status < 500 ? 'format' : 'server_error'
}
