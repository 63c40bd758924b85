import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { type BufferedResponse, headersOf } from '../http-clients/buffered-response.ts'
import { readText } from '../providers/refused-answer.ts'
import { readTokenFields, secretText } from '../providers/token-fields.ts'
import { isJsonObject, parseJsonList, parseJsonObject } from '../tools/json-object.ts'

/** Bytes that an answer may inflate to. */
const MOST_INFLATED = 256 * 1024
/** Headers that speak of the bytes of the body. */
const OF_THE_BYTES = /^(?:content-length|content-encoding|transfer-encoding|content-md5|etag|digest)$/i

/** The refresh token that an answer grants; `undefined` where it grants none, or cannot be read. */
export function grantedRefresh(answer: BufferedResponse): Fingerprint | undefined {
  return answer.status >= 200 && answer.status < 300 ? fingerprint(secretText(readTokenFields(textOf(answer))?.refresh_token)) : undefined
}

/**
 * The answer as it reads some time later: `expires_in` counts from the moment at which it is given (RFC 6749 section 5.1).
 *
 * At least a second is left: some clients take zero for an hour. An answer without the field is given unchanged.
 */
export function agedAnswer(answer: BufferedResponse, elapsedMs: number): BufferedResponse {
  const text = textOf(answer)
  const list = parseJsonList(text)
  const fields = list?.length === 1 && isJsonObject(list[0]) ? list[0] : parseJsonObject(text)
  const life = fields?.expires_in
  if (!fields || typeof life !== 'number' || elapsedMs < 1000) return answer
  const aged = { ...fields, expires_in: Math.max(1, life - Math.floor(elapsedMs / 1000)) }
  const body = Buffer.from(JSON.stringify(list ? [aged] : aged))
  const headers = answer.headers.filter(([name]) => !OF_THE_BYTES.test(name))
  return { ...answer, headers: [...headers, ['content-length', String(body.byteLength)]], body }
}

function textOf(answer: BufferedResponse): string {
  return readText(headersOf(answer), answer.body, MOST_INFLATED)
}
