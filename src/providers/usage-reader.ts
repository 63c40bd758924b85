import { isJsonObject, parseJsonObject } from '../tools/json-object.ts'

/** Tokens one model call took, as its answer says. */
export interface TokenUsage {
  /** All input, what came from a cache included. */
  readonly inputTokens?: number | undefined
  readonly outputTokens?: number | undefined
}

const NEEDLE = Buffer.from('"usage"')
/** What is searched for: the native search stops at each first byte, and JSON is full of quotes. */
const NEEDLE_REST = NEEDLE.subarray(1)
const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const COLON = 0x3a
const LINE_FEED = 0x0a

/** Most bytes of a usage object; real ones have some hundred. What is longer is something else of that name. */
const LONGEST_OBJECT = 8 * 1024

/**
 * Reads token usage from an answer that passes by in chunks, without parsing it: a native search for `"usage"`, then only
 * the object behind it.
 *
 * Knows OpenAI's chat completions (`prompt_tokens`, `completion_tokens`) and responses (`input_tokens`, `output_tokens`)
 * and Anthropic's messages, whose first event states the input and whose last one the output. Later numbers replace
 * earlier ones: streams count up. The word inside of a text is escaped there (`\"usage\"`) and does not match. How the
 * answer is cut into chunks makes no difference.
 */
export class UsageReader {
  readonly #isEventStream: boolean
  #state: 'search' | 'colon' | 'brace' | 'object' = 'search'
  /** In `search`: the end of the last chunk when it may be the beginning of the needle. */
  #tail: Buffer | undefined
  #parts: Buffer[] = []
  #length = 0
  #depth = 0
  #isInString = false
  #isEscaped = false
  #usage: TokenUsage | undefined

  /** @param isEventStream A line break ends an event, so an object that is cut off there cannot swallow what follows. */
  constructor(isEventStream: boolean) {
    this.#isEventStream = isEventStream
  }

  /** What was read so far; `undefined` when nothing was. */
  get usage(): TokenUsage | undefined {
    return this.#usage
  }

  /** Takes the next chunk of the body. Keeps no reference to it beyond the few bytes that may matter. */
  read(chunk: Buffer): void {
    const data = this.#tail ? Buffer.concat([this.#tail, chunk]) : chunk
    this.#tail = undefined
    let at = 0
    while (at < data.length) {
      if (this.#state === 'search') at = this.#search(data, at)
      else if (this.#state === 'object') at = this.#readObject(data, at)
      else at = this.#skipTo(data, at)
    }
  }

  #search(data: Buffer, from: number): number {
    let found = data.indexOf(NEEDLE_REST, from + 1)
    while (found >= 0 && data[found - 1] !== QUOTE) found = data.indexOf(NEEDLE_REST, found + NEEDLE_REST.length)
    if (found >= 0) {
      this.#state = 'colon'
      return found + NEEDLE_REST.length
    }
    const kept = beginningOfNeedle(data, from)
    if (kept > 0) this.#tail = Buffer.from(data.subarray(data.length - kept))
    return data.length
  }

  /** Between the name and its value: a colon, then a brace, white space anywhere. Anything else is not usage. */
  #skipTo(data: Buffer, from: number): number {
    const byte = data[from]
    if (byte === 0x20 || byte === 0x09 || byte === LINE_FEED || byte === 0x0d) return from + 1
    if (this.#state === 'colon' && byte === COLON) {
      this.#state = 'brace'
      return from + 1
    }
    if (this.#state === 'brace' && byte === OPEN_BRACE) {
      this.#state = 'object'
      this.#depth = 0
      this.#length = 0
      this.#parts = []
      this.#isInString = false
      this.#isEscaped = false
      return from
    }
    this.#state = 'search'
    return from
  }

  #readObject(data: Buffer, from: number): number {
    for (let at = from; at < data.length; at++) {
      const byte = data[at]
      if (++this.#length > LONGEST_OBJECT || (byte === LINE_FEED && this.#isEventStream)) return this.#forget(at + 1)
      if (this.#closes(byte)) {
        this.#take(Buffer.concat([...this.#parts, data.subarray(from, at + 1)]))
        return this.#forget(at + 1)
      }
    }
    this.#parts.push(Buffer.from(data.subarray(from)))
    return data.length
  }

  /** Reads one byte of the object. @returns whether the object ends with it. */
  #closes(byte: number | undefined): boolean {
    if (this.#isEscaped) this.#isEscaped = false
    else if (this.#isInString) {
      if (byte === BACKSLASH) this.#isEscaped = true
      else if (byte === QUOTE) this.#isInString = false
    } else if (byte === QUOTE) this.#isInString = true
    else if (byte === OPEN_BRACE) this.#depth++
    else if (byte === CLOSE_BRACE) return --this.#depth === 0
    return false
  }

  #forget(next: number): number {
    this.#state = 'search'
    this.#parts = []
    return next
  }

  #take(object: Buffer): void {
    this.#usage = laterUsage(this.#usage, countsIn(parseJsonObject(object.toString('utf8'))))
  }
}

/** What is known of the usage of a call now that more of its answer was read: streams count up. */
export function laterUsage(before: TokenUsage | undefined, now: TokenUsage | undefined): TokenUsage | undefined {
  if (!before || !now) return now ?? before
  return { inputTokens: now.inputTokens ?? before.inputTokens, outputTokens: now.outputTokens ?? before.outputTokens }
}

/** Fields of an answer, or of an event of a stream, that hold an object with usage: of the call as a whole, then in the order of their likelihood. */
const USAGE_FIELDS = ['totalUsage', 'usage', 'usageMetadata'] as const
/** Fields that hold the answer itself: Anthropic's first event, the last event of OpenAI's responses, what axios returns. */
const ANSWER_FIELDS = ['message', 'response', 'data'] as const

/** Token usage in an answer that a client has parsed, or in an event of its stream; `undefined` when there is none. */
export function usageIn(answer: unknown): TokenUsage | undefined {
  if (!isJsonObject(answer)) return undefined
  const own = usageBeside(answer)
  if (own) return own
  for (const field of ANSWER_FIELDS) {
    const inner = answer[field]
    const usage = isJsonObject(inner) ? usageBeside(inner) : undefined
    if (usage) return usage
  }
  return undefined
}

function usageBeside(answer: Record<string, unknown>): TokenUsage | undefined {
  for (const field of USAGE_FIELDS) {
    const usage = countsIn(answer[field])
    if (usage) return usage
  }
  return undefined
}

/** Reads a usage object, by the names of OpenAI, Anthropic, the AI SDK and Gemini. */
function countsIn(usage: unknown): TokenUsage | undefined {
  if (!isJsonObject(usage)) return undefined
  const input = count(usage.prompt_tokens) ?? count(usage.input_tokens) ?? count(usage.inputTokens) ?? count(usage.promptTokenCount)
  const outputTokens =
    count(usage.completion_tokens) ?? count(usage.output_tokens) ?? count(usage.outputTokens) ?? count(usage.candidatesTokenCount)
  if (input === undefined && outputTokens === undefined) return undefined
  // Anthropic counts cached input beside `input_tokens`; the GenAI conventions want the sum.
  const cached = (count(usage.cache_creation_input_tokens) ?? 0) + (count(usage.cache_read_input_tokens) ?? 0)
  return { inputTokens: input === undefined ? undefined : input + cached, outputTokens }
}

/** How many of the last bytes, after `from`, are the beginning of the needle. */
function beginningOfNeedle(data: Buffer, from: number): number {
  for (let length = Math.min(NEEDLE.length - 1, data.length - from); length > 0; length--) {
    // Most chunks end in nothing of the kind: the one byte is read before the bytes are compared.
    if (data[data.length - length] === QUOTE && data.compare(NEEDLE, 0, length, data.length - length) === 0) return length
  }
  return 0
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
