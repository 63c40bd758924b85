import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import type { Request, RequestHandler } from 'express'
import { GatewayError } from '../domain/gateway-error.ts'

/** The room that the bodies of all requests under way share, in bytes. */
export class BodyRoom {
  #left: number

  /** @param bytes How much there is. */
  constructor(bytes: number) {
    this.#left = bytes
  }

  /** @returns false when there is not so much left; then nothing is taken. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false
    this.#left -= bytes
    return true
  }

  give(bytes: number): void {
    this.#left += bytes
  }
}

export interface InboundBodyOptions {
  /** Largest body, inflated, in bytes. */
  maxBodyBytes: number
  room: BodyRoom
}

const INFLATERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
}
/** A body that finds no room now may find it when one of the others is answered. */
const RETRY_MS = 1_000

/**
 * Reads the body of a request whole into `request.body`, a `Buffer`, inflated where it came compressed. A body whose length
 * is announced is written to its place as it comes: it is in memory once. It counts until the request is answered, since a
 * call may be repeated with the next profile until then.
 *
 * What is refused (`GW_TOO_LARGE`, `GW_OVERLOADED`, `GW_BAD_REQUEST`) is read off first and thrown away, since a client that
 * is still sending would not see the answer.
 */
export function inboundBody({ maxBodyBytes, room }: InboundBodyOptions): RequestHandler {
  return (request, response, next) => {
    const reading = new BodyReading(request, maxBodyBytes, room)
    response.once('close', () => reading.release())
    reading.whole().then(
      body => {
        request.body = body
        next()
      },
      (error: unknown) => next(error),
    )
  }
}

/** One body on its way into memory. */
class BodyReading {
  readonly #request: Request
  readonly #maxBodyBytes: number
  readonly #room: BodyRoom
  readonly #parts: Buffer[] = []
  /** The place of a body whose length is known. */
  #place: Buffer | undefined
  #length = 0
  #taken = 0

  constructor(request: Request, maxBodyBytes: number, room: BodyRoom) {
    this.#request = request
    this.#maxBodyBytes = maxBodyBytes
    this.#room = room
  }

  /** @throws {GatewayError} when it cannot be held or read. */
  async whole(): Promise<Buffer> {
    const { headers } = this.#request
    const encoding = (headers['content-encoding'] ?? 'identity').trim().toLowerCase()
    const isCompressed = encoding !== 'identity' && encoding !== ''
    const announced = Number(headers['content-length'] ?? Number.NaN)
    let refusal: GatewayError | undefined
    if (isCompressed) {
      const inflater = INFLATERS[encoding]?.()
      refusal = inflater ? await this.#inflate(inflater) : unreadable()
    } else if (announced >= 0) {
      refusal = this.#reserve(announced)
      if (!refusal) {
        this.#place = Buffer.allocUnsafe(announced)
        refusal = await this.#take(this.#request)
      }
    } else refusal = await this.#take(this.#request)
    if (!refusal) return this.#place ?? Buffer.concat(this.#parts)
    this.#parts.length = 0
    this.#place = undefined
    this.release()
    await this.#readOff()
    throw refusal
  }

  /** Gives its room back. */
  release(): void {
    this.#room.give(this.#taken)
    this.#taken = 0
  }

  #reserve(bytes: number): GatewayError | undefined {
    if (this.#taken + bytes > this.#maxBodyBytes) return tooLarge()
    if (!this.#room.take(bytes)) return noRoom()
    this.#taken += bytes
    return undefined
  }

  async #inflate(inflater: Transform): Promise<GatewayError | undefined> {
    this.#request.pipe(inflater)
    const refusal = await this.#take(inflater)
    this.#request.unpipe(inflater)
    inflater.destroy()
    return refusal
  }

  /** Takes all that comes out of `source`. @returns why it cannot be taken, if so */
  #take(source: Request | Transform): Promise<GatewayError | undefined> {
    return new Promise(resolve => {
      const done = (refusal?: GatewayError) => {
        source.off('data', take)
        resolve(refusal)
      }
      const take = (chunk: Buffer) => {
        const refusal = this.#keep(chunk)
        if (refusal) done(refusal)
      }
      source.on('data', take)
      source.once('end', () => done(this.#place && this.#length < this.#place.length ? unreadable() : undefined))
      source.once('error', cause => done(unreadable(cause)))
      // A client that leaves does not end an inflater.
      this.#request.once('error', cause => done(unreadable(cause)))
      this.#request.once('close', () => {
        if (!this.#request.complete) done(unreadable())
      })
    })
  }

  #keep(chunk: Buffer): GatewayError | undefined {
    if (this.#place) {
      chunk.copy(this.#place, this.#length)
      this.#length += chunk.length
      return undefined
    }
    const refusal = this.#reserve(chunk.length)
    if (!refusal) this.#parts.push(chunk)
    return refusal
  }

  #readOff(): Promise<void> {
    const request = this.#request
    if (request.complete || request.destroyed) return Promise.resolve()
    return new Promise(resolve => {
      request.once('end', resolve)
      request.once('close', resolve)
      request.resume()
    })
  }
}

function tooLarge(): GatewayError {
  return new GatewayError('GW_TOO_LARGE', 'the body is larger than listen.maxBodyBytes allows', { next: 'fix_request' })
}

function noRoom(): GatewayError {
  return new GatewayError('GW_OVERLOADED', 'requests under way hold as many bytes of bodies as listen.maxBufferedBytes allows', {
    next: 'try_again_later',
    retryAfterMs: RETRY_MS,
  })
}

function unreadable(cause?: unknown): GatewayError {
  return new GatewayError('GW_BAD_REQUEST', 'the body could not be read', { next: 'fix_request', cause })
}
