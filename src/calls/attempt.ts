import type { AttemptOutcome } from '../domain/enums.ts'
import { errorType } from '../domain/gateway-error.ts'
import { judgeUnanswered } from '../providers/call-judgement.ts'
import type { AttemptJudgement } from '../providers/provider.ts'
import { readRefusedAnswer } from '../providers/refused-answer.ts'
import type { AnswerHeaders, AnswerSink, CollectedBody, Flow, Upstream, UpstreamError } from '../providers/upstream.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { AttemptFacts } from './attempt-facts.ts'
import { AttemptRecord } from './attempt-record.ts'
import { type CallRefusal, hasCallerLeft } from './call-request.ts'
import { EchoFilter } from './echo-filter.ts'
import { endpointOf } from './endpoint.ts'

/** How an attempt ended. Once the answer `begun` it cannot be repeated, whatever happens. */
export interface AttemptEnd {
  readonly outcome: AttemptOutcome
  readonly begun: boolean
  /** How the provider's refusal was judged, where it answered. */
  readonly judgement?: AttemptJudgement
  readonly refusal?: CallRefusal
  /** How many good calls the spans of this one stand for; 0 when they are not kept. */
  readonly weight?: number
}

/**
 * What one refusal may take of the time that its call has left for all: those that follow are read too, for a moment each,
 * and together they stay within it.
 */
const REFUSAL_SHARE = 2 / 3

/**
 * Makes one attempt: one profile, one credential, one upstream request. Never rejects.
 *
 * A good answer goes to the sink chunk by chunk as it comes; a refusal is collected and judged by the provider.
 */
export function makeAttempt(telemetry: Telemetry, upstream: Upstream, facts: AttemptFacts): Promise<AttemptEnd> {
  return new Promise(resolve => {
    const record = new AttemptRecord(telemetry, facts)
    const { request, candidate, profile } = facts
    let authorization: Record<string, string>
    try {
      authorization = candidate.provider.authorize(profile.credential, request.headers)
    } catch (error) {
      record.ended('auth_permanent', errorType(error))
      resolve({ outcome: 'auth_permanent', begun: false })
      return
    }
    const { origin, path } = endpointOf(candidate.provider, request.protocol)
    upstream.send(
      {
        origin,
        path: path + (request.query ?? ''),
        method: request.body ? 'POST' : 'GET',
        headers: { ...request.headers, ...authorization },
        body: request.body,
        collectMs: facts.refusalTime.leftMs * REFUSAL_SHARE,
        ...(request.signal && { signal: request.signal }),
      },
      new AttemptSink(facts, record, resolve),
    )
  })
}

/** Takes the provider's answer, hands it on, and says how it ended. */
class AttemptSink implements AnswerSink {
  readonly #facts: AttemptFacts
  readonly #record: AttemptRecord
  readonly #done: (end: AttemptEnd) => void
  readonly #echo: EchoFilter
  #status = 0
  #headers: AnswerHeaders = {}
  #begun = false
  /** The body of a refusal has been read, or given up. */
  #readRefusal = () => {}

  constructor(facts: AttemptFacts, record: AttemptRecord, done: (end: AttemptEnd) => void) {
    this.#facts = facts
    this.#record = record
    this.#done = done
    this.#echo = new EchoFilter(facts.profile.credential)
  }

  onHead(status: number, headers: AnswerHeaders, flow: Flow): 'stream' | 'collect' {
    this.#status = status
    this.#headers = headers
    this.#record.head(status, headers)
    if (status >= 300) {
      this.#readRefusal = this.#facts.refusalTime.begin()
      return 'collect'
    }
    this.#begun = true
    this.#facts.onAccepted()
    this.#facts.sink.head(status, this.#echo.headers(headers), this.#facts.served, flow)
    return 'stream'
  }

  onChunk(chunk: Buffer): boolean {
    this.#record.chunk(chunk)
    const passed = this.#echo.chunk(chunk)
    return passed.length === 0 || this.#facts.sink.chunk(passed)
  }

  onEnd(collected: CollectedBody | undefined): void {
    if (!collected) {
      this.#record.ended('ok')
      const rest = this.#echo.rest()
      if (rest.length > 0) this.#facts.sink.chunk(rest)
      this.#facts.sink.end()
      this.#done({ outcome: 'ok', begun: true, weight: this.#record.weight })
      return
    }
    this.#readRefusal()
    const answer = { ...readRefusedAnswer(this.#status, this.#headers, collected.bytes), model: this.#facts.request.model }
    const judgement = this.#facts.candidate.provider.judgeAttempt(answer)
    const { outcome, providerCode } = judgement
    this.#record.ended(outcome, outcome, providerCode)
    const refusal: CallRefusal = {
      status: this.#status,
      ...this.#echo.refusal(this.#headers, collected.bytes, answer.body),
      cut: collected.cut,
    }
    this.#done({ outcome, begun: false, judgement, refusal })
  }

  onError(error: UpstreamError): void {
    this.#readRefusal()
    const { outcome, failure } = judgeUnanswered(error, hasCallerLeft(this.#facts.request))
    this.#record.ended(outcome, failure)
    if (this.#begun) this.#facts.sink.fail(error)
    this.#done({ outcome, begun: this.#begun })
  }
}
