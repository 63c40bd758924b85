import type { RefusedAnswer } from './provider.ts'
import type { AnswerHeaders } from './upstream.ts'

/** Inflated bytes of a compressed error that are worth judging. */
const INFLATED_READ = 256 * 1024

/**
 * A collected answer for the judge: decompressed, cut or not. A relay uses the received bytes with their own `content-encoding`.
 */
export function readRefusedAnswer(status: number, headers: AnswerHeaders, bytes: Buffer): RefusedAnswer {
  return { status, headers, body: readText(headers, bytes, INFLATED_READ) }
}

/**
 * The text of a body, inflated, without a byte order mark.
 *
 * What the bytes are counts more than what the header says: a proxy that compresses or inflates may leave the header as it
 * was, and no text begins as a gzip stream does.
 *
 * @param maxBytes Most bytes it may inflate to.
 * @returns The empty string when the body cannot be inflated within that or has an encoding that we do not know.
 */
export function readText(headers: AnswerHeaders, bytes: Buffer, maxBytes: number): string {
  try {
    const named = String(headers['content-encoding'] ?? '').toLowerCase()
    const encodings = named.split(',').map(name => name.trim())
    const inflated = encodings.reduceRight((body, name) => inflate(body, name, maxBytes), bytes)
    return textOf(isGzip(inflated) ? inflate(inflated, 'gzip', maxBytes) : inflated)
  } catch {
    return ''
  }
}

function inflate(bytes: Buffer, encoding: string, maxOutputLength: number): Buffer {
  if (encoding === '' || encoding === 'identity') return bytes
  // Loaded when it is needed: the preload, which has this module too, starts without it.
  const zlib = process.getBuiltinModule('node:zlib')
  // A cut body ends in the middle of its compressed stream; what is there of it is read.
  const options = { maxOutputLength, finishFlush: zlib.constants.Z_SYNC_FLUSH }
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return isPlain(bytes) ? bytes : zlib.gunzipSync(bytes, options)
    case 'deflate':
      // RFC 9110 section 8.4.1.2: some servers leave the zlib wrapper out.
      return isZlib(bytes) ? zlib.inflateSync(bytes, options) : isPlain(bytes) ? bytes : zlib.inflateRawSync(bytes, options)
    case 'br':
      return isPlain(bytes)
        ? bytes
        : zlib.brotliDecompressSync(bytes, { maxOutputLength, finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH })
    case 'zstd':
      return isPlain(bytes) ? bytes : zlib.zstdDecompressSync(bytes, { maxOutputLength, finishFlush: zlib.constants.ZSTD_e_flush })
    default:
      throw new RangeError('an encoding that is not known')
  }
}

/** RFC 1952 section 2.3.1; the second byte is none that a UTF-8 text can have there. */
function isGzip(bytes: Buffer): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b
}

/** RFC 1950 section 2.2: method 8, and a check sum over both bytes. */
function isZlib(bytes: Buffer): boolean {
  return bytes.length > 1 && ((bytes[0] ?? 0) & 0x0f) === 8 && bytes.readUInt16BE(0) % 31 === 0
}

/** JSON, HTML or a form in the clear, whatever the header says. A brotli stream may begin with `[` too, so more than that is looked at. */
function isPlain(bytes: Buffer): boolean {
  const start = bytes
    .subarray(0, 24)
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
  return /^\s*(?:[{[<]|[\w.-]+=)/.test(start) && /^[\s\x20-\x7e]+$/.test(start)
}

/** UTF-8, or UTF-16 where a byte order mark says so; the mark is left out. */
function textOf(bytes: Buffer): string {
  const isUtf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
  if (isUtf16) return new TextDecoder(bytes[0] === 0xff ? 'utf-16le' : 'utf-16be').decode(bytes)
  const text = bytes.toString('utf8')
  return text.startsWith('\ufeff') ? text.slice(1) : text
}
