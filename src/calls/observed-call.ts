import type { Context } from '@opentelemetry/api'
import type { CallerSite } from '../domain/caller-site.ts'
import { judgeResult, judgeThrown, type SeenEnd } from '../providers/call-judgement.ts'
import { laterUsage, type TokenUsage, UsageReader, usageIn } from '../providers/usage-reader.ts'
import type { FaultReporter } from '../telemetry/fault-reporter.ts'
import { activeEvent, type EventFields, OpenEvent } from '../telemetry/open-event.ts'
import { contextOf, isKept, standingOf, type Telemetry } from '../telemetry/telemetry.ts'
import { type BodyObserver, trackBody } from './body-tracker.ts'
import type { SampleWeights } from './sample-weights.ts'

/** What is known of a call when it begins. */
export type ObservedCallFacts = EventFields<'attempt'> & { readonly provider: string; readonly profile: string; readonly model: string }

/** What calls of the application are recorded by. */
export interface CallObservers {
  readonly telemetry: Telemetry
  /** Says how many good calls each that is kept stands for. */
  readonly weights: SampleWeights
  readonly troubles: RecentTroubles
  /** `gen_ai.provider.name` of a provider. */
  readonly genaiNameOf: (provider: string) => string
}

/** Takes the caller: with its whole stack, or with the nearest frames. */
type TakeCaller = (stack: 'whole' | 'near') => CallerSite

/** Calls that failed: those that follow may fail too, and their stacks are taken whole. */
export class RecentTroubles {
  #untilMs = 0

  noted(): void {
    this.#untilMs = performance.now() + TROUBLED_MS
  }

  isRecent(): boolean {
    return this.#untilMs > 0 && performance.now() < this.#untilMs
  }
}

const PLACE = 'the record of a provider call'
const TROUBLED_MS = 30_000
const OPEN_BRACE = 0x7b
/** The end of an event stream, and as many characters as it may take. */
const LAST_EVENT = /(?:\[DONE\]|"message_stop"\s*\})\s*$/
const TAIL = 48

/**
 * A provider call that the application makes itself: one attempt, from its beginning to the end of its answer. A call in which
 * others are made, such as the retries of an SDK, is the call, and those are its attempts. Nothing here throws.
 */
export class ObservedCall implements BodyObserver {
  readonly #record: CallRecord
  readonly #faults: FaultReporter
  readonly #startedAtMs = performance.now()
  #head: SeenEnd = { outcome: 'ok' }
  /** The answer has said that it is whole. */
  #isWhole = false

  constructor(observers: CallObservers, facts: ObservedCallFacts, takeCaller: TakeCaller) {
    this.#faults = observers.telemetry.faults
    this.#record = new CallRecord(observers, facts, takeCaller, enclosingCall())
  }

  /** The context in which the call is made. */
  get context(): Context {
    return contextOf(this.#record.span)
  }

  /** What is known of it from now on. */
  set(fields: EventFields<'attempt'>): void {
    this.#record.set(fields)
  }

  firstChunk(): void {
    this.#record.firstChunk((performance.now() - this.#startedAtMs) / 1000)
  }

  /** Notes tokens; later numbers replace earlier ones. */
  usage(usage: TokenUsage | undefined): void {
    this.#record.usage = laterUsage(this.#record.usage, usage)
  }

  reader(): (piece: unknown) => void {
    let bytes: ByteReader | undefined
    const read = (piece: unknown) => {
      const chunk = bytesOf(piece)
      if (chunk) {
        bytes ??= new ByteReader(chunk)
        bytes.read(chunk)
      }
      this.usage(chunk ? bytes?.usage : usageIn(piece))
      this.#isWhole ||= chunk ? bytes?.isWhole === true : isLastEvent(piece)
    }
    return piece => this.#faults.guard(PLACE, () => read(piece), undefined)
  }

  /** The function that was called has returned `result`, whose body may still come. What it brought may have properties that throw. */
  resolved(result: unknown): void {
    const goesOn = this.#faults.guard(
      PLACE,
      () => {
        this.#head = judgeResult(result)
        if (this.#head.failure === undefined && trackBody(result, this)) return true
        if (!isLazy(result)) this.usage(usageIn(result))
        return false
      },
      false,
    )
    if (!goesOn) this.#record.over(this.#head)
  }

  /** It has failed. */
  rejected(error: unknown): void {
    this.end(error)
  }

  end(error?: unknown): void {
    const { status } = this.#head
    const thrown = error !== undefined && this.#faults.guard(PLACE, () => judgeThrown(error), { outcome: 'server_error', failure: 'Error' })
    this.#record.over(thrown ? { ...thrown, ...(status && { status }) } : this.#head)
  }

  /** Clients leave a stream whose last event they have read. */
  left(): void {
    this.#record.over(this.#isWhole ? this.#head : { ...this.#head, outcome: 'aborted' })
  }

  /** It has ended as the application says. */
  over(end: SeenEnd): void {
    this.#record.over(end)
  }
}

/** The event of such a call. */
class CallRecord extends OpenEvent<'attempt'> {
  readonly caller: CallerSite
  usage: TokenUsage | undefined
  readonly #observers: CallObservers
  readonly #outer: CallRecord | undefined
  /** Calls within it. */
  #attempts = 0
  #weight = 1

  constructor(observers: CallObservers, facts: ObservedCallFacts, takeCaller: TakeCaller, outer: CallRecord | undefined) {
    const index = outer?.beginsAttempt()
    const known = { ...facts, genaiProvider: observers.genaiNameOf(facts.provider), ...(index !== undefined && { attemptIndex: index }) }
    super(observers.telemetry, 'attempt', known)
    // The stack of a call that is passed over unless it fails shows who called, and no more.
    this.caller = outer?.caller ?? takeCaller(isKept(this.span) || observers.troubles.isRecent() ? 'whole' : 'near')
    this.calledBy(this.caller)
    this.#observers = observers
    this.#outer = outer
  }

  /** @returns The place of an attempt that begins within it. */
  beginsAttempt(): number {
    return this.#attempts++
  }

  firstChunk(seconds: number): void {
    this.set({ timeToFirstChunkS: seconds })
    this.step('first_chunk')
  }

  over({ outcome, status, failure, providerCode }: SeenEnd): void {
    if (this.isOver) return
    const failed = { errorType: failure, isError: failure !== undefined }
    if (failed.isError) this.#observers.troubles.noted()
    if (this.#attempts > 0) this.#overAsCall(outcome, failed)
    else {
      const { profile = 'unknown', model = 'unknown' } = this.facts as { profile?: string; model?: string }
      if (outcome === 'ok') this.#weight = this.#observers.weights.take(profile, model, standingOf(this.span))
      if (this.#outer) this.#outer.#weight = this.#weight
      this.end({ ...failed, ...this.usage, outcome, httpStatus: status, providerErrorCode: providerCode, standsFor: this.#weight })
    }
  }

  /** Tokens, status and first chunk are those of its attempts. */
  #overAsCall(outcome: SeenEnd['outcome'], failed: Pick<EventFields<'attempt'>, 'errorType' | 'isError'>): void {
    this.becomes('call')
    const ofAttempt = { attemptIndex: undefined, timeToFirstChunkS: undefined }
    const ofCall = { attempts: this.#attempts, outcome: outcome === 'aborted' ? outcome : undefined }
    this.end({ ...failed, ...ofAttempt, ...ofCall, standsFor: this.#weight } as EventFields<'attempt'>)
  }
}

/** The call within which another one begins now. */
function enclosingCall(): CallRecord | undefined {
  const call = activeEvent('attempt')
  return call instanceof CallRecord ? call : undefined
}

/** Bytes of an answer as they pass. */
class ByteReader {
  readonly #usage: UsageReader
  readonly #isEventStream: boolean
  #tail = ''

  constructor(first: Buffer) {
    this.#isEventStream = first[0] !== OPEN_BRACE
    this.#usage = new UsageReader(this.#isEventStream)
  }

  read(chunk: Buffer): void {
    this.#usage.read(chunk)
    if (this.#isEventStream) this.#tail = (this.#tail + chunk.toString('latin1', Math.max(0, chunk.length - TAIL))).slice(-TAIL)
  }

  get usage(): TokenUsage | undefined {
    return this.#usage.usage
  }

  /** The last event was read: OpenAI's mark, Anthropic's event. */
  get isWhole(): boolean {
    return LAST_EVENT.test(this.#tail)
  }
}

const LAST_TYPES: ReadonlySet<unknown> = new Set(['message_stop', 'response.completed', 'finish'])

/** Says whether nothing of the answer follows what a client made of an event. */
function isLastEvent(event: unknown): boolean {
  if (typeof event !== 'object' || event === null) return false
  const { type, choices } = event as { type?: unknown; choices?: unknown }
  return (
    LAST_TYPES.has(type) || (Array.isArray(choices) && choices.some((choice: { finish_reason?: unknown } | null) => choice?.finish_reason))
  )
}

function bytesOf(piece: unknown): Buffer | undefined {
  if (typeof piece === 'string') return Buffer.from(piece)
  if (ArrayBuffer.isView(piece)) return Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
  return piece instanceof ArrayBuffer ? Buffer.from(piece) : undefined
}

/** A result with streams that begin when one of its properties is read. */
function isLazy(result: unknown): boolean {
  return (
    typeof result === 'object' && result !== null && ('textStream' in result || 'fullStream' in result || 'partialObjectStream' in result)
  )
}
