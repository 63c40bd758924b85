import { createHash } from 'node:crypto'

/** What the simulated model read and says; everything in it follows from the request alone. */
export interface ModelCompletion {
  readonly model: string
  /** 24 hex digits; the ids of the answer are made of it. */
  readonly digest: string
  /** Epoch seconds, from the digest and not from the clock. */
  readonly createdAt: number
  readonly text: string
  /** The text in the pieces a stream sends it in. */
  readonly pieces: readonly string[]
  readonly inputTokens: number
  readonly outputTokens: number
}

/**
 * Thinks of an answer: how long the input was, and its digest.
 *
 * Equal model and input give an equal turn, streamed or not, so a caller can tell whether the input arrived unchanged.
 *
 * @param input What the model reads: the messages or the input of the request, as parsed JSON.
 */
export function modelCompletion(model: string, input: unknown): ModelCompletion {
  const read = typeof input === 'string' ? input : (JSON.stringify(input) ?? '')
  const digest = createHash('sha256').update(`${model}\0${read}`).digest('hex').slice(0, 24)
  const text = `Simulated answer of ${model}: read ${read.length} characters, digest ${digest.slice(0, 12)}.`
  const pieces = text.match(/\S+\s*/g) ?? []
  return {
    model,
    digest,
    createdAt: 1_750_000_000 + (Number.parseInt(digest.slice(0, 6), 16) % 10_000_000),
    text,
    pieces,
    inputTokens: Math.ceil(read.length / 4),
    outputTokens: pieces.length,
  }
}
