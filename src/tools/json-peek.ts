/** A top-level member of a JSON object, by where its value stands in the bytes. */
export interface PeekedMember {
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

/**
 * Finds top-level members of a JSON object without parsing the rest.
 *
 * A request body only passes through the gateway; its model and a flag or two are all that is needed of it, and they
 * mostly stand first. The scan stops as soon as every wanted member is found.
 *
 * @param body The bytes of one JSON object.
 * @param wanted Names of the members, without escapes.
 * @returns The members found; `undefined` when `body` is not a JSON object as far as it was read.
 */
export function peekMembers(body: Buffer, wanted: readonly string[]): Map<string, PeekedMember> | undefined {
  const found = new Map<string, PeekedMember>()
  let at = skipSpace(body, 0)
  if (body[at] !== OPEN_BRACE) return undefined
  at = skipSpace(body, at + 1)
  while (at < body.length && body[at] !== CLOSE_BRACE) {
    if (body[at] !== QUOTE) return undefined
    const nameEnd = endOfString(body, at)
    const name = body.toString('utf8', at + 1, nameEnd - 1)
    at = skipSpace(body, nameEnd)
    if (body[at] !== COLON) return undefined
    const start = skipSpace(body, at + 1)
    const end = endOfValue(body, start)
    if (end <= start || end > body.length) return undefined
    if (wanted.includes(name)) {
      found.set(name, { start, end })
      if (found.size === wanted.length) return found
    }
    at = skipSpace(body, end)
    if (body[at] === COMMA) at = skipSpace(body, at + 1)
    else if (body[at] !== CLOSE_BRACE) return undefined
  }
  return at < body.length ? found : undefined
}

/** The value of a peeked string member, or `undefined` when it is not a string. */
export function peekedString(body: Buffer, member: PeekedMember | undefined): string | undefined {
  if (!member || body[member.start] !== QUOTE) return undefined
  try {
    return JSON.parse(body.toString('utf8', member.start, member.end)) as string
  } catch {
    return undefined
  }
}

/** Whether a peeked member is the literal `true`. */
export function peekedTrue(body: Buffer, member: PeekedMember | undefined): boolean {
  return member !== undefined && body.toString('latin1', member.start, member.end) === 'true'
}

/** `body` with the value of `member` replaced; everything else stays byte for byte. */
export function replaceMember(body: Buffer, member: PeekedMember, value: unknown): Buffer {
  return Buffer.concat([body.subarray(0, member.start), Buffer.from(JSON.stringify(value)), body.subarray(member.end)])
}

function skipSpace(body: Buffer, from: number): number {
  let at = from
  while (at < body.length && (body[at] as number) <= 0x20) at += 1
  return at
}

/** Index after the closing quote; past the end when there is none. */
function endOfString(body: Buffer, open: number): number {
  let close = body.indexOf(QUOTE, open + 1)
  while (close > 0) {
    let backslashes = 0
    while (body[close - 1 - backslashes] === BACKSLASH) backslashes += 1
    if (backslashes % 2 === 0) return close + 1
    close = body.indexOf(QUOTE, close + 1)
  }
  return body.length + 1
}

function endOfValue(body: Buffer, start: number): number {
  const first = body[start]
  if (first === QUOTE) return endOfString(body, start)
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return endOfNested(body, start)
  let at = start
  while (at < body.length && !isDelimiter(body[at] as number)) at += 1
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

function isDelimiter(byte: number): boolean {
  return byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte <= 0x20
}
