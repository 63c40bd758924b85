import { GENAI_OPERATIONS } from '../../otel/genai-semconv.ts'
import { takeCallerSite } from '../callers/caller.ts'
import { type AsyncFunction, callWrapped, type Resolved, type ValueOrReader, valueFor } from '../domain/wrapped-function.ts'
import { judgeResult, judgeThrown, type SeenEnd } from '../providers/call-judgement.ts'
import { runInContext } from '../telemetry/active-context.ts'
import { type EventFields, OpenEvent } from '../telemetry/open-event.ts'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import { contextOf, type Telemetry } from '../telemetry/telemetry.ts'
import { type BodyObserver, trackBody } from './body-tracker.ts'
import { trackedPromise } from './tracked-promise.ts'

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
 * The call is judged by the HTTP status of its result or of the error it throws, where there is one. It ends with the body of its
 * answer (see `trackBody`): one that breaks is an error, one that its reader leaves is `aborted`.
 *
 * @returns A function with the same `this`, arguments, result and errors. A promise with more methods (`withResponse`) keeps them.
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
    const startedAtMs = performance.now()
    // What the call brought may have a `status` that throws: the caller gets it all the same.
    const noteEnd = (endOf: () => SeenEnd) => {
      faults.guard('the record of a provider call', () => event.set(fieldsOf(endOf())), undefined)
      event.end()
    }
    const resolved = (result: unknown) => {
      let head: SeenEnd = { outcome: 'ok' }
      const body: BodyObserver = {
        firstChunk: () => event.set({ timeToFirstChunkS: (performance.now() - startedAtMs) / 1000 }),
        end: error => noteEnd(() => (error === undefined ? head : { ...judgeThrown(error), ...(head.status && { status: head.status }) })),
        left: () => noteEnd(() => ({ ...head, outcome: 'aborted' })),
      }
      const isGoing = faults.guard(
        'the record of a provider call',
        () => {
          head = judgeResult(result)
          return head.failure === undefined && trackBody(result, body)
        },
        false,
      )
      if (!isGoing) noteEnd(() => head)
    }
    const rejected = (error: unknown) => noteEnd(() => judgeThrown(error))
    return runInContext(contextOf(event.span), () => {
      try {
        return trackedPromise(callWrapped(send, this, parameters), { resolved, rejected })
      } catch (error) {
        rejected(error)
        throw error
      }
    })
  }
  return watched as F
}

function fieldsOf({ outcome, status, failure }: SeenEnd): EventFields<'attempt'> {
  return { outcome, httpStatus: status, errorType: failure, isError: failure !== undefined }
}
