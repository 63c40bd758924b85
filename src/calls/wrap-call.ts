import { GENAI_OPERATIONS } from '../../otel/genai-semconv.ts'
import { takeCallerSite } from '../callers/caller.ts'
import { type AsyncFunction, callWrapped, type Resolved, type ValueOrReader, valueFor } from '../domain/wrapped-function.ts'
import { judgeResult, judgeThrown, type SeenEnd } from '../providers/call-judgement.ts'
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
    const noteEnd = (endOf: () => SeenEnd) => {
      faults.guard('the record of a provider call', () => event.set(fieldsOf(endOf())), undefined)
      event.end()
    }
    return runInContext(contextOf(event.span), async () => {
      let result: Resolved<F>
      try {
        result = await callWrapped(send, this, parameters)
      } catch (error) {
        noteEnd(() => judgeThrown(error))
        throw error
      }
      noteEnd(() => judgeResult(result))
      return result
    })
  }
  return watched as F
}

function fieldsOf({ outcome, status, failure }: SeenEnd): EventFields<'attempt'> {
  return { outcome, httpStatus: status, errorType: failure, isError: failure !== undefined }
}
