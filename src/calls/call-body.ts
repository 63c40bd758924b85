import { isAnyArrayBuffer, isPromise } from 'node:util/types'
import { GatewayError } from '../domain/gateway-error.ts'

/**
 * The bytes of a body given in code: bytes as they are, without a copy; a string as UTF-8, since it is JSON already; any
 * other object as JSON.
 *
 * @returns `undefined` where there is no body.
 * @throws {GatewayError} `GW_BAD_REQUEST` for what is none of these, and for an object that JSON cannot hold.
 */
export function callBody(body: unknown): Buffer | undefined {
  if (body === undefined) return undefined
  if (Buffer.isBuffer(body)) return body
  if (ArrayBuffer.isView(body)) return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  if (isAnyArrayBuffer(body)) return Buffer.from(body)
  if (typeof body === 'string') return Buffer.from(body)
  if (typeof body !== 'object' || body === null || holdsNoJson(body))
    throw refusedBody(`is of type ${Object.prototype.toString.call(body).slice('[object '.length, -1)}`)
  return Buffer.from(json(body))
}

/** A stream, a `Blob`, a `Map`, a form, a promise: `JSON.stringify` makes `{}` of each. */
function holdsNoJson(body: object): boolean {
  return !Array.isArray(body) && (Symbol.iterator in body || Symbol.asyncIterator in body || isPromise(body) || body instanceof Blob)
}

function json(body: object): string {
  let text: string | undefined
  try {
    text = JSON.stringify(body)
  } catch (cause) {
    throw refusedBody('cannot be written as JSON', cause)
  }
  if (text === undefined) throw refusedBody('is nothing as JSON')
  return text
}

function refusedBody(what: string, cause?: unknown): GatewayError {
  return new GatewayError(
    'GW_BAD_REQUEST',
    `call: body ${what}, allowed: an object, JSON as a string, a Buffer, Uint8Array or ArrayBuffer`,
    {
      next: 'fix_request',
      cause,
    },
  )
}
