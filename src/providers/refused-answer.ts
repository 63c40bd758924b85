import { brotliDecompressSync, constants, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'
import type { AnswerHeaders } from './answer-sink.ts'
import type { RefusedAnswer } from './provider.ts'

/** Inflated bytes of a compressed error that are worth judging. */
const INFLATED_READ = 256 * 1024

/**
 * A collected answer as it is judged: inflated where it came compressed, cut or not. For relaying, the bytes as they came
 * are used with their own `content-encoding`.
 */
export function readRefusedAnswer(status: number, headers: AnswerHeaders, bytes: Buffer): RefusedAnswer {
  return { status, headers, body: readText(headers, bytes, INFLATED_READ) }
}

/**
 * The text of a body, inflated.
 *
 * @param maxBytes Most bytes it may inflate to.
 * @returns The empty string when the body cannot be inflated within that or has an encoding that we do not know.
 */
export function readText(headers: AnswerHeaders, bytes: Buffer, maxBytes: number): string {
  const encoding = String(headers['content-encoding'] ?? 'identity')
    .trim()
    .toLowerCase()
  // A cut body ends in the middle of its compressed stream; what is there of it is read.
  const options = { maxOutputLength: maxBytes }
  try {
    switch (encoding) {
      case '':
      case 'identity':
        return bytes.toString('utf8')
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(bytes, { ...options, finishFlush: constants.Z_SYNC_FLUSH }).toString('utf8')
      case 'deflate':
        return inflateSync(bytes, { ...options, finishFlush: constants.Z_SYNC_FLUSH }).toString('utf8')
      case 'br':
        return brotliDecompressSync(bytes, { ...options, finishFlush: constants.BROTLI_OPERATION_FLUSH }).toString('utf8')
      case 'zstd':
        return zstdDecompressSync(bytes, { ...options, finishFlush: constants.ZSTD_e_flush }).toString('utf8')
      default:
        return ''
    }
  } catch {
    return ''
  }
}
