import type { BufferedResponse } from '../http-clients/buffered-response.ts'
import type { InflightSettlement } from './inflight-refreshes.ts'

/** Longer than any token answer: what goes on after this is none, and is no other caller's. */
const MOST_BYTES = 256 * 1024

/** Copies an answer as it passes by, for those who wait for the same, and lands their refresh with it. */
export class ResponseBuffer {
  readonly #settle: (landing: InflightSettlement) => void
  readonly #pieces: Buffer[] = []
  #bytes = 0
  #head: Omit<BufferedResponse, 'body'> | undefined

  constructor(settle: (landing: InflightSettlement) => void) {
    this.#settle = settle
  }

  /** It is copied no further; who asked for it is alone with it. */
  get isTooLong(): boolean {
    return this.#bytes > MOST_BYTES
  }

  /** @param headers Names and values in turn, or by name; of a later version of undici, values may be lists. */
  head(status: number, statusText: string | undefined, headers: unknown): void {
    this.#head = { status, statusText: statusText ?? '', headers: pairsOf(headers) }
  }

  chunk(chunk: Uint8Array): void {
    if (this.isTooLong) return
    this.#bytes += chunk.byteLength
    if (!this.isTooLong) {
      this.#pieces.push(Buffer.from(chunk))
      return
    }
    this.#pieces.length = 0
    this.#settle('send_independently')
  }

  ended(): void {
    const answer = this.#head && { ...this.#head, body: Buffer.concat(this.#pieces) }
    this.#settle(answer ? { answer } : 'send_independently')
  }

  failed(error: unknown): void {
    this.#settle({ error })
  }
}

function pairsOf(headers: unknown): (readonly [string, string])[] {
  if (Array.isArray(headers)) return headers.flatMap((name, at) => (at % 2 === 0 ? valuesOf(name, headers[at + 1]) : []))
  return typeof headers === 'object' && headers !== null ? Object.entries(headers).flatMap(([name, value]) => valuesOf(name, value)) : []
}

function valuesOf(name: unknown, value: unknown): (readonly [string, string])[] {
  const values = Array.isArray(value) ? value : [value]
  return values.map(one => [text(name), text(one)] as const)
}

function text(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)
}
