import { GENAI_OPERATIONS } from '../../otel/genai-semconv.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import { ATTEMPT_OUTCOMES, type AttemptOutcome } from '../domain/enums.ts'
import { configError, errorType } from '../domain/gateway-error.ts'
import { judgeResult, judgeThrown, type SeenEnd } from '../providers/call-judgement.ts'
import { type TokenUsage, usageIn } from '../providers/usage-reader.ts'
import { runInContext } from '../telemetry/active-context.ts'
import { type GivenFields, isGivenWell, NAME, optional } from '../telemetry/given-fields.ts'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import { type CallObservers, ObservedCall } from './observed-call.ts'

/** What is known of a provider call that begins. */
export interface BeginCallOptions {
  provider: string
  /** Which profile it uses. @default 'unknown' */
  profile?: string
  /** @default 'unknown' */
  model?: string
}

/** How a provider call ended; what is left out follows from the rest. */
export interface BegunCallEnd {
  /** @default by `error`, else by `status`, else 'ok' */
  outcome?: AttemptOutcome
  /** HTTP status of the answer. */
  status?: number
  /** What it failed with; only its type is recorded. */
  error?: unknown
}

/**
 * A provider call that the application reports step by step. One that is never ended is recorded as `aborted` when nothing refers to
 * it any more, or at the end of its block with `using`.
 */
export interface BegunCall {
  /** The first piece of the answer has come. */
  firstChunk(): void
  /** Notes tokens; later numbers replace earlier ones. */
  usage(usage: TokenUsage): void
  /** The call is over. Does nothing a second time. */
  end(end?: BegunCallEnd): void
  /** Runs `work` as part of the call: its spans are children, and requests by `watch.fetch` are attempts of it. @returns what `work` returns */
  run<T>(work: () => T): T
  /** As `end({ outcome: 'aborted' })`. */
  [Symbol.dispose](): void
}

/** Calls whose handles are gone. */
const forgotten = new FinalizationRegistry<ObservedCall>(call => call.left())

const FIELDS = { provider: NAME, profile: optional(NAME), model: optional(NAME) } satisfies Record<keyof BeginCallOptions, unknown> &
  GivenFields

/** Begins the record of a provider call. Options that cannot be used are reported; the call is one of an unknown provider then. */
export function beginCall(observers: CallObservers, options: BeginCallOptions, caller: CallerSite): BegunCall {
  const isUsable = isGivenWell(observers.telemetry.faults, 'beginCall', options, FIELDS)
  const { provider, profile, model }: BeginCallOptions = isUsable ? options : { provider: 'unknown' }
  const facts = {
    genaiOperation: GENAI_OPERATIONS.chat_completions,
    provider,
    profile: observers.telemetry.profile(profile ?? 'unknown'),
    model: sanitizeName(model ?? 'unknown'),
  }
  return new CallHandle(observers, new ObservedCall(observers, facts, () => caller))
}

class CallHandle implements BegunCall {
  readonly #observers: CallObservers
  readonly #call: ObservedCall
  #hasBegun = false

  constructor(observers: CallObservers, call: ObservedCall) {
    this.#observers = observers
    this.#call = call
    forgotten.register(this, call, this)
  }

  firstChunk(): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    this.#call.firstChunk()
  }

  usage(usage: TokenUsage): void {
    this.#call.usage(usageIn({ usage }))
  }

  end(end: BegunCallEnd = {}): void {
    const { faults } = this.#observers.telemetry
    forgotten.unregister(this)
    this.#call.over(faults.guard('the end of a begun call', () => seenEnd(end), { outcome: 'ok' }))
  }

  run<T>(work: () => T): T {
    return runInContext(this.#call.context, work)
  }

  [Symbol.dispose](): void {
    this.end({ outcome: 'aborted' })
  }
}

/** @throws {GatewayError} `GW_CONFIG` for an outcome that is none. */
function seenEnd({ outcome, status, error }: BegunCallEnd): SeenEnd {
  const seen = error === undefined ? judgeResult({ status }) : judgeThrown(error)
  const known = { ...seen, ...(status !== undefined && { status }) }
  if (outcome === undefined) return known
  if (!ATTEMPT_OUTCOMES.includes(outcome)) throw configError(`beginCall: outcome of end is none of: ${ATTEMPT_OUTCOMES.join(', ')}`)
  if (outcome === 'ok' || outcome === 'aborted') return { outcome, ...(status !== undefined && { status }) }
  return { ...known, outcome, failure: error === undefined ? outcome : errorType(error) }
}
