import { bearerOf, type Credential } from '../domain/credential.ts'
import type { AnswerHeaders } from '../providers/upstream.ts'
import { withoutSecrets } from '../tools/secret-registry.ts'

/** Stands where a secret stood in a refusal. */
const REMOVED = '[credential]'
/** In an answer that streams the length is announced already: each byte is replaced by one. */
const MASK = 0x2a
/** A shorter key is no more than a word, which an answer may hold by chance; a refusal loses it all the same. */
const SHORTEST_IN_STREAM = 16
const SHORTEST_IN_REFUSAL = 8
/** So much of the secret at the end of a chunk is passed on: every stream would wait for the next chunk that ends in its first letter. */
const PASSED = 3
/** Enough of a random text to be kept, where a stream ends in the middle of it. */
const ENOUGH = 12

/** So many bytes of the secret, from near its beginning, are searched for in a chunk: where they are not, neither is the whole secret. */
const PIECE = 8
const LAST_PIECE_AT = 24
/** Bytes that texts and JSON rarely hold, the rarest kind first: the native search stops at each byte that the piece begins with. */
const RARE = [/[A-Z]/, /[qjxzkvw]/, /[0-9_~]/]

const NOTHING = Buffer.alloc(0)

const JWT = /eyJ[\w-]{8,}(?:\.[\w-]*){1,4}/g

/** A secret in the form that is searched for. */
interface Sought {
  readonly secret: string
  readonly spellings: readonly string[]
  /** Absent where it is too short to be looked for in a stream. */
  readonly needle?: Buffer
  /** What of the needle is searched for first. */
  readonly piece?: Buffer
  /** Where the piece ends in the needle. */
  readonly pieceEnd: number
}

/** Made once for each credential: every call shows it. */
const soughtBy = new WeakMap<Credential, Sought>()

/**
 * Keeps the secret of an attempt from its client: a provider, or a proxy before it, may hand back what it was sent, in a
 * header, a redirect or the text of an error.
 *
 * A good answer is looked through as it passes, chunk by chunk and over their borders, and nothing of it is parsed: the
 * bytes of the secret become asterisks. One that comes compressed although nothing was asked for passes unseen. A refusal is
 * here as a whole, and loses every other secret of the process as well.
 */
export class EchoFilter {
  readonly #sought: Sought
  /** Bytes of the needle's beginning that the stream ended with so far, and how many of them were not passed on. */
  #matched = 0
  #held = 0

  constructor(credential: Credential) {
    this.#sought = soughtFor(credential)
  }

  /** The headers of a good answer. */
  headers(headers: AnswerHeaders): AnswerHeaders {
    const { needle, secret, spellings } = this.#sought
    if (!needle) return headers
    let clean: Record<string, string | string[] | undefined> | undefined
    for (const name in headers) {
      const value = headers[name]
      if (value === undefined || value.length === 0) continue
      const text = typeof value === 'string' ? value : value.join()
      if (text.length < secret.length || !spellings.some(each => text.includes(each))) continue
      clean ??= { ...headers }
      clean[name] = mapped(value, each => without(each, spellings))
    }
    return clean ?? headers
  }

  /**
   * A refusal.
   *
   * @param text Its body, inflated; the empty string where it could not be.
   * @returns Headers and body as they came where nothing is in them; else without.
   */
  refusal(headers: AnswerHeaders, bytes: Buffer, text: string): { readonly headers: AnswerHeaders; readonly body: Buffer } {
    const cleanHeaders: AnswerHeaders = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, value && mapped(value, each => this.#withoutAll(each))]),
    )
    const cleanText = this.#withoutAll(text)
    if (cleanText === text && (text !== '' || bytes.length === 0)) return { headers: cleanHeaders, body: bytes }
    // What cannot be read is not passed on either.
    const { 'content-encoding': _encoding, 'content-length': _length, ...plain } = cleanHeaders
    return { headers: plain, body: Buffer.from(cleanText) }
  }

  /** The next bytes of a good answer that may be passed on; may be none. */
  chunk(chunk: Buffer): Buffer {
    const { needle, piece, pieceEnd } = this.#sought
    if (!needle || !piece) return chunk
    // Most chunks: one native search, and a look at the last bytes, which cannot be more of the needle than the piece ends in.
    if (this.#matched === 0 && chunk.indexOf(piece) < 0) {
      const matched = beginningAtEnd(chunk, chunk.length - pieceEnd + 1, needle)
      if (matched <= PASSED) {
        this.#matched = matched
        return chunk
      }
    }
    // What came before and may be the beginning of the secret is looked at together with what comes now.
    const before = this.#matched
    const data = before === 0 ? chunk : Buffer.concat([needle.subarray(0, before), chunk])
    const from = before - this.#held
    const first = data.indexOf(needle)
    const { bytes, end } = first < 0 ? { bytes: data, end: 0 } : masked(data, needle, first)
    this.#matched = beginningAtEnd(data, end, needle)
    const until = this.#matched > PASSED ? Math.max(from, data.length - this.#matched) : data.length
    this.#held = data.length - until
    return from === 0 && until === bytes.length ? bytes : bytes.subarray(from, until)
  }

  /** What was held back when the answer ended; may be nothing. */
  rest(): Buffer {
    const { needle } = this.#sought
    if (!needle || this.#held === 0) return NOTHING
    const held = needle.subarray(this.#matched - this.#held, this.#matched)
    return this.#matched < ENOUGH ? held : Buffer.alloc(held.length, MASK)
  }

  #withoutAll(text: string): string {
    const clean = withoutSecrets(text, REMOVED).replace(JWT, REMOVED)
    return this.#sought.secret.length >= SHORTEST_IN_REFUSAL ? without(clean, this.#sought.spellings) : clean
  }
}

function soughtFor(credential: Credential): Sought {
  const known = soughtBy.get(credential)
  if (known) return known
  const secret = bearerOf(credential)?.trim() ?? ''
  const spellings = spellingsOf(secret)
  const needle = secret.length >= SHORTEST_IN_STREAM ? Buffer.from(secret) : undefined
  const at = needle ? pieceAt(needle) : 0
  const sought = { secret, spellings, pieceEnd: at + PIECE, ...(needle && { needle, piece: needle.subarray(at, at + PIECE) }) }
  soughtBy.set(credential, sought)
  return sought
}

/** Where the piece of a needle begins: at the first byte of the rarest kind that it has near its beginning. */
function pieceAt(needle: Buffer): number {
  const beginnings = needle.toString('latin1', 0, Math.min(LAST_PIECE_AT, needle.length - PIECE) + 1)
  for (const kind of RARE) {
    const at = beginnings.search(kind)
    if (at >= 0) return at
  }
  return 0
}

/** How a secret is spelled in texts, addresses, JSON and HTML. */
function spellingsOf(secret: string): readonly string[] {
  if (/^[\w.~-]*$/.test(secret)) return [secret]
  const inJson = JSON.stringify(secret).slice(1, -1)
  const inHtml = secret.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
  return [...new Set([secret, encodeURIComponent(secret), encodeURI(secret), inJson, inJson.replaceAll('/', '\\/'), inHtml])]
}

function without(text: string, secrets: readonly string[]): string {
  return secrets.reduce((clean, secret) => clean.replaceAll(secret, REMOVED), text)
}

function mapped(value: string | string[], change: (text: string) => string): string | string[] {
  return Array.isArray(value) ? value.map(change) : change(value)
}

/** The bytes with every needle masked, and where the last one ends. What comes from the transport stays unchanged. */
function masked(data: Buffer, needle: Buffer, first: number): { readonly bytes: Buffer; readonly end: number } {
  const bytes = Buffer.from(data)
  let end = 0
  for (let at = first; at >= 0; at = data.indexOf(needle, end)) {
    end = at + needle.length
    bytes.fill(MASK, at, end)
  }
  return { bytes, end }
}

/** How many of the last bytes, those from `from` on, are the beginning of the needle. */
function beginningAtEnd(data: Buffer, from: number, needle: Buffer): number {
  const { length } = data
  for (let at = Math.max(0, from, length - needle.length + 1); at < length; at += 1) {
    let same = 0
    while (at + same < length && data[at + same] === needle[same]) same += 1
    if (at + same === length) return same
  }
  return 0
}
