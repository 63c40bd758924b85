import type { DispatchOptions } from './undici-dispatch.ts'

/** The body of a dispatched request that may be a token request's, read before it is sent. */
export interface ReadBody {
  /** `undefined` when it is longer than any token request's. */
  readonly text: string | undefined
  /** What to send in its place: the same bytes, in the same pieces. */
  readonly body: unknown
}

/** Longer than any token request. */
const MOST_BYTES = 64 * 1024

/** The text of a body that is at hand; `undefined` for one that comes in pieces, is too long, or is none. */
export function textAtHand(body: unknown): string | undefined {
  if (typeof body === 'string') return body.length <= MOST_BYTES ? body : undefined
  if (!ArrayBuffer.isView(body) || body.byteLength > MOST_BYTES) return undefined
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
}

/** Says whether a body comes in pieces, of which none was read: what fetch sends does, and a stream. */
export function comesInPieces(body: unknown): body is AsyncIterable<unknown> {
  if (typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body)) return false
  const { readableDidRead, locked, destroyed } = body as { readableDidRead?: boolean; locked?: boolean; destroyed?: boolean }
  return readableDidRead !== true && locked !== true && destroyed !== true
}

/** Says whether a body in pieces is declared to be a short one, of a kind that a token request may have. */
export function isDeclaredShort({ headers }: DispatchOptions, kinds: RegExp): boolean {
  const declared = new Map(pairsOf(headers).map(([name, value]) => [String(name).toLowerCase(), String(value)]))
  const length = Number(declared.get('content-length') ?? Number.NaN)
  return length <= MOST_BYTES && kinds.test(declared.get('content-type') ?? '')
}

/** Reads a body as far as a token request may go. @throws what its source throws. */
export async function readPieces(source: AsyncIterable<unknown>): Promise<ReadBody> {
  const rest = source[Symbol.asyncIterator]()
  const pieces: unknown[] = []
  const held: Buffer[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = await rest.next()
    if (done) return { text: Buffer.concat(held).toString('utf8'), body: piecewise(pieces) }
    pieces.push(value)
    const piece = typeof value === 'string' ? Buffer.from(value) : value instanceof Uint8Array ? Buffer.from(value) : undefined
    bytes += piece?.byteLength ?? MOST_BYTES + 1
    if (bytes > MOST_BYTES) return { text: undefined, body: piecewise(pieces, rest) }
    if (piece) held.push(piece)
  }
}

async function* piecewise(pieces: readonly unknown[], rest?: AsyncIterator<unknown>): AsyncGenerator<unknown> {
  yield* pieces
  if (rest) yield* { [Symbol.asyncIterator]: () => rest }
}

/** undici takes headers as names and values in turn, as pairs, or by name. */
function pairsOf(headers: unknown): (readonly [unknown, unknown])[] {
  if (typeof headers !== 'object' || headers === null) return []
  const list = Array.isArray(headers) ? headers : Symbol.iterator in headers ? [...(headers as Iterable<unknown>)] : undefined
  if (!list) return Object.entries(headers)
  if (Array.isArray(list[0])) return list as [unknown, unknown][]
  return list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1]] as const] : []))
}
