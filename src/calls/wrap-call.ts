import { GENAI_OPERATIONS } from '../../otel/genai-semconv.ts'
import { captureNearStack, nearCallerSite, takeCallerSite } from '../callers/caller.ts'
import { type AnyFunction, callWrapped, type Resolved, type ValueOrReader, valueFor } from '../domain/wrapped-function.ts'
import type { TokenUsage } from '../providers/usage-reader.ts'
import { runInContext } from '../telemetry/active-context.ts'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import { type CallObservers, ObservedCall } from './observed-call.ts'
import { trackedResult } from './tracked-promise.ts'

/**
 * How the arguments of another caller's provider call are read. A callback that throws is reported once through `diag` and
 * `onError`, and the call runs as if it were not wrapped.
 */
export interface WrapCallOptions<F extends AnyFunction> {
  provider: string
  /** Which profile it uses. @default 'unknown' */
  profile?: ValueOrReader<F, string>
  /** @default 'unknown' */
  model?: ValueOrReader<F, string>
  /**
   * Tokens of the call, where its result says them in a way of its own. Called once, with what the call returned, before anything of
   * a stream is read.
   *
   * @default by the `usage` of the result or of the events of its stream, as OpenAI, Anthropic, Gemini and the AI SDK write it
   */
  usage?: (result: Resolved<F>) => TokenUsage | undefined
}

/**
 * Wraps a provider call that the application wrote: a span with caller site, profile, outcome and tokens, and a duration.
 *
 * The call is judged by the HTTP status of its result or of the error it throws, where there is one. It ends with the body of its
 * answer (see `trackBody`): one that breaks is an error, one that its reader leaves is `aborted`.
 *
 * @returns A function with the same `this`, arguments, result and errors. A promise with more methods (`withResponse`) keeps them.
 */
export function wrapCall<F extends AnyFunction>(observers: CallObservers, send: F, options: WrapCallOptions<F>): F {
  const { faults } = observers.telemetry
  function watched(this: unknown, ...parameters: Parameters<F>): unknown {
    const near = captureNearStack()
    const profileId = faults.text('the option wrapCall.profile', () => valueFor(options.profile, parameters))
    const model = faults.text('the option wrapCall.model', () => valueFor(options.model, parameters))
    const facts = {
      genaiOperation: GENAI_OPERATIONS.chat_completions,
      model: sanitizeName(model ?? 'unknown'),
      provider: options.provider,
      profile: observers.telemetry.profile(profileId ?? 'unknown'),
    }
    const call = new ObservedCall(observers, facts, stack => (stack === 'whole' ? takeCallerSite(watched) : nearCallerSite(near, watched)))
    const resolved = (result: unknown) => {
      if (options.usage) call.usage(faults.guard('the option wrapCall.usage', () => options.usage?.(result as Resolved<F>), undefined))
      call.resolved(result)
    }
    return runInContext(call.context, () => {
      try {
        return trackedResult(callWrapped(send, this, parameters), { resolved, rejected: error => call.rejected(error) })
      } catch (error) {
        call.rejected(error)
        throw error
      }
    })
  }
  return watched as F
}
