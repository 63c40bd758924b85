/**
 * Reads a JSON object. A byte order mark in front of it, as .NET and Windows editors write it, is passed over (RFC 8259
 * section 8.1).
 *
 * @returns `undefined` for whatever is no JSON, or JSON of another kind. Never throws.
 */
export function parseJsonObject(text: string): Record<string, unknown> | undefined {
  const parsed = parsedJson(text)
  return isJsonObject(parsed) ? parsed : undefined
}

/** Reads a JSON array. @returns `undefined` for whatever is no JSON, or JSON of another kind. Never throws. */
export function parseJsonList(text: string): unknown[] | undefined {
  if (!/^\ufeff?\s*\[/.test(text)) return undefined
  const parsed = parsedJson(text)
  return Array.isArray(parsed) ? parsed : undefined
}

/** @returns `undefined` for what is no JSON, which no JSON is. */
function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text.startsWith('\ufeff') ? text.slice(1) : text)
  } catch {
    return undefined
  }
}

/**
 * Finds the end of the JSON object at the beginning of a text, in one pass. Whether it is valid JSON is for its reader to say.
 *
 * @returns Its length in characters, with white space or a byte order mark before it; `undefined` where the text begins with
 *   something else or ends inside it.
 */
export function jsonObjectLength(text: string): number | undefined {
  const [before] = /^\ufeff?\s*/.exec(text) ?? ['']
  if (text[before.length] !== '{') return undefined
  let depth = 0
  let isInString = false
  for (let at = before.length; at < text.length; at += 1) {
    const character = text[at]
    if (character === '"') isInString = !isInString
    else if (isInString) at += character === '\\' ? 1 : 0
    else depth += NESTING[character ?? ''] ?? 0
    if (depth === 0) return at + 1
  }
  return undefined
}

const NESTING: Readonly<Record<string, number>> = { '{': 1, '}': -1 }

/** Says whether a parsed value is an object, and neither an array nor `null`. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A top-level member of a JSON object, by where its value stands in the bytes. */
interface ScannedMember {
  /** Index of the value's first byte. */
  readonly start: number
  /** Index after the value's last byte. */
  readonly end: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const COLON = 0x3a
const COMMA = 0x2c

/** What was found at the top of a JSON object. */
interface ScannedObject {
  /** The wanted members by their name; of one that stands there twice the last, which most parsers take. */
  readonly members: ReadonlyMap<string, ScannedMember>
  /** Wanted names that stand there twice, or in another case: parsers differ in which member they take. */
  readonly ambiguous: readonly string[]
}

/** An escape (`\u0065`) takes six bytes for one character. */
const LONGEST_ESCAPE = 6

/**
 * Finds top-level members of a JSON object without parsing the rest.
 *
 * A request body only passes through the gateway; its model and a flag or two are all that is needed of it. Names are read
 * as parsers read them, escapes included, and the whole object is read: `{"model":"a", ..., "mod\u0065l":"b"}` runs as `b`
 * at a provider whose parser takes the last one, and in any case where names are compared without it (Go's encoding/json).
 *
 * @param body The bytes of one JSON object.
 * @param wanted Names of the members, in lower case.
 * @returns What was found; `undefined` when `body` is not one JSON object as far as this looks at it.
 */
export function scanMembers(body: Buffer, wanted: readonly string[]): ScannedObject | undefined {
  return peek(body, wanted, false)
}

/**
 * Finds top-level members in the received part of a JSON object, for an observer of a body in transit. Stops when every requested
 * member is found.
 *
 * @returns What was found; `undefined` when `piece` does not begin with a JSON object.
 */
export function scanBeginning(piece: Buffer, wanted: readonly string[]): ScannedObject | undefined {
  return peek(piece, wanted, true)
}

function peek(body: Buffer, wanted: readonly string[], isBeginning: boolean): ScannedObject | undefined {
  const open = skipSpace(body, 0)
  if (body[open] !== OPEN_BRACE) return undefined
  const found = new FoundMembers(wanted)
  const end = scan(body, skipSpace(body, open + 1), found, isBeginning)
  if (end === undefined) return undefined
  // Nothing may follow: where a parser goes on to a second object, its members count.
  const isWhole = end < body.length && skipSpace(body, end + 1) === body.length
  return isWhole || isBeginning ? found : undefined
}

/** Reads members until the closing brace, the end of the bytes or, of a beginning, the last wanted one. @returns Where; `undefined` where it is no JSON. */
function scan(body: Buffer, from: number, found: FoundMembers, isBeginning: boolean): number | undefined {
  let at: number | undefined = from
  while (at !== undefined && at < body.length && body[at] !== CLOSE_BRACE) {
    const member = memberAt(body, at)
    if (!member || member.end >= body.length) return member && body.length
    if (!found.note(body, at, member)) return undefined
    if (isBeginning && found.isComplete) return at
    at = endOfMember(body, member.end)
  }
  return at
}

class FoundMembers implements ScannedObject {
  readonly members = new Map<string, ScannedMember>()
  readonly ambiguous: string[] = []
  readonly #wanted: readonly string[]
  readonly #longestName: number

  constructor(wanted: readonly string[]) {
    this.#wanted = wanted
    this.#longestName = longestSpelling(wanted)
  }

  get isComplete(): boolean {
    return this.members.size === this.#wanted.length
  }

  /** Keeps a member that is wanted. @returns false where its name is no JSON. */
  note(body: Buffer, open: number, { start, end, nameEnd }: NamedMember): boolean {
    if (nameEnd - open - 2 > this.#longestName) return true
    const name = textOf(body, open, nameEnd)
    if (name === undefined) return false
    const found = wantedName(name, this.#wanted)
    if (found === undefined) return true
    if ((found !== name || this.members.has(found)) && !this.ambiguous.includes(found)) this.ambiguous.push(found)
    if (found === name) this.members.set(found, { start, end })
    return true
  }
}

interface NamedMember extends ScannedMember {
  readonly nameEnd: number
}

/** The member whose name begins at `open`; `undefined` where none does. One that the bytes cut off ends with them or behind them. */
function memberAt(body: Buffer, open: number): NamedMember | undefined {
  if (body[open] !== QUOTE) return undefined
  const nameEnd = endOfString(body, open)
  const colon = skipSpace(body, nameEnd)
  if (colon >= body.length) return { start: colon, end: colon, nameEnd }
  if (body[colon] !== COLON) return undefined
  const start = skipSpace(body, colon + 1)
  const end = endOfValue(body, start)
  return end > start || end >= body.length ? { start, end, nameEnd } : undefined
}

/** Index of the next member, of the closing brace or of the end of the bytes; `undefined` where something else follows. */
function endOfMember(body: Buffer, end: number): number | undefined {
  const at = skipSpace(body, end)
  if (body[at] === COMMA) return skipSpace(body, at + 1)
  return body[at] === CLOSE_BRACE || at >= body.length ? at : undefined
}

/** Most bytes that one of the names takes, each of its characters escaped. */
function longestSpelling(wanted: readonly string[]): number {
  let longest = 0
  for (const { length } of wanted) longest = Math.max(longest, length)
  return LONGEST_ESCAPE * longest
}

/** The wanted name that a name is, whatever its case. */
function wantedName(name: string, wanted: readonly string[]): string | undefined {
  if (wanted.includes(name)) return name
  const folded = withoutCase(name)
  return wanted.includes(folded) ? folded : undefined
}

/** The text of a JSON string; `undefined` where an escape in it is none. */
function textOf(body: Buffer, open: number, end: number): string | undefined {
  const text = body.toString('utf8', open + 1, end - 1)
  if (!text.includes('\\')) return text
  try {
    return JSON.parse(body.toString('utf8', open, end)) as string
  } catch {
    return undefined
  }
}

/** By way of upper case, as simple case folding has it: the long s (U+017F) is an s. */
function withoutCase(name: string): string {
  return name.toUpperCase().toLowerCase()
}

/** The value of a peeked string member, or `undefined` when it is not a string. */
export function scannedString(body: Buffer, member: ScannedMember | undefined): string | undefined {
  return member && body[member.start] === QUOTE ? textOf(body, member.start, member.end) : undefined
}

/** Whether a peeked member is the literal `true`. */
export function scannedTrue(body: Buffer, member: ScannedMember | undefined): boolean {
  return member !== undefined && body.toString('latin1', member.start, member.end) === 'true'
}

/**
 * `body` with the value of `member` replaced; everything else stays byte for byte.
 *
 * A value that is not longer than the one before is written within the memory of `body`, which holds nothing useful
 * afterwards: a body of 30 MB is not copied for a model's name.
 */
export function replaceMember(body: Buffer, { start, end }: ScannedMember, value: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(value))
  const saved = end - start - text.length
  if (saved < 0) return Buffer.concat([body.subarray(0, start), text, body.subarray(end)])
  if (start <= body.length - end) {
    body.copyWithin(saved, 0, start)
    text.copy(body, start + saved)
    return body.subarray(saved)
  }
  body.copyWithin(start + text.length, end)
  text.copy(body, start)
  return body.subarray(0, body.length - saved)
}

function skipSpace(body: Buffer, from: number): number {
  let at = from
  while (at < body.length && (body[at] as number) <= 0x20) at += 1
  return at
}

/** Longest stretch of a string that is read byte by byte before the next quote is searched for, which begins slowly and is fast then. */
const READ_BYTES = 128

/** Index after the closing quote; past the end when there is none. */
function endOfString(body: Buffer, open: number): number {
  let from = open + 1
  for (;;) {
    const until = Math.min(body.length, from + READ_BYTES)
    let at = from
    while (at < until) {
      const byte = body[at]
      if (byte === QUOTE) return at + 1
      at += byte === BACKSLASH ? 2 : 1
    }
    const quote = body.indexOf(QUOTE, at)
    if (quote < 0) return body.length + 1
    if (!isEscaped(body, at, quote)) return quote + 1
    from = quote + 1
  }
}

/** An odd number of backslashes stands before `quote`. */
function isEscaped(body: Buffer, from: number, quote: number): boolean {
  let first = quote
  while (first > from && body[first - 1] === BACKSLASH) first -= 1
  return (quote - first) % 2 === 1
}

function endOfValue(body: Buffer, start: number): number {
  const first = body[start]
  if (first === QUOTE) return endOfString(body, start)
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return endOfNested(body, start)
  let at = start
  while (at < body.length && isOfScalar(body[at] as number)) at += 1
  return at
}

function endOfNested(body: Buffer, start: number): number {
  let depth = 0
  for (let at = start; at < body.length; at += 1) {
    const byte = body[at]
    if (byte === QUOTE) at = endOfString(body, at) - 1
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1
      if (depth === 0) return at + 1
    }
  }
  return body.length + 1
}

/** Of a number, `true`, `false` or `null`. */
function isOfScalar(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x7a) || byte === 0x2d || byte === 0x2b || byte === 0x2e || byte === 0x45
  )
}
