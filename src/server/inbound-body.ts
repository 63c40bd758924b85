import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
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
 * Reads the body of a request whole, inflated where it came compressed. A body whose length is announced is written to its
 * place as it comes, and one that comes in one piece is that piece: it is in memory once. It counts until the request is
 * answered, since a call may be repeated with the next profile until then.
 *
 * What is refused is read off first and thrown away, since a client that is still sending would not see the answer.
 *
 * @throws {GatewayError} `GW_TOO_LARGE`, `GW_OVERLOADED`, `GW_BAD_REQUEST`
 */
export function readInboundBody(
  request: IncomingMessage,
  response: ServerResponse,
  { maxBodyBytes, room }: InboundBodyOptions,
): Promise<Buffer> {
  const reading = new BodyReading(request, maxBodyBytes, room)
  // `on`, since it comes once: `once` makes two objects more for each request.
  response.on('close', () => reading.release())
  // A promise, since events of a body come outside of the context of the request that its span is in.
  return new Promise((resolve, reject) => reading.whole(resolve, reject))
}

/** One body on its way into memory. */
class BodyReading {
  readonly #request: IncomingMessage
  readonly #maxBodyBytes: number
  readonly #room: BodyRoom
  readonly #parts: Buffer[] = []
  /** Length of a body that was announced, in bytes. */
  #announced: number | undefined
  /** The place of such a body, from its first piece on. */
  #place: Buffer | undefined
  #length = 0
  #taken = 0

  constructor(request: IncomingMessage, maxBodyBytes: number, room: BodyRoom) {
    this.#request = request
    this.#maxBodyBytes = maxBodyBytes
    this.#room = room
  }

  /** Calls one of them, once: with the body, or with why it cannot be held or read. */
  whole(done: (body: Buffer) => void, refuse: (refusal: GatewayError) => void): void {
    const end = (refusal?: GatewayError) => {
      if (refusal) this.#refuse(() => refuse(refusal))
      else done(this.#place ?? (this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts)))
    }
    const { headers } = this.#request
    const encoding = headers['content-encoding']?.trim().toLowerCase() || 'identity'
    if (encoding !== 'identity') {
      const inflater = INFLATERS[encoding]?.()
      if (inflater) this.#inflate(inflater, end)
      else end(unreadable())
      return
    }
    const announced = Number(headers['content-length'] ?? Number.NaN)
    if (announced >= 0) {
      const refusal = this.#reserve(announced)
      if (refusal) {
        end(refusal)
        return
      }
      this.#announced = announced
    }
    this.#take(this.#request, end)
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

  #inflate(inflater: Transform, end: (refusal?: GatewayError) => void): void {
    this.#request.pipe(inflater)
    this.#take(inflater, refusal => {
      this.#request.unpipe(inflater)
      inflater.destroy()
      end(refusal)
    })
  }

  /** Takes all that comes out of `source`. @param end Called once, with why it cannot be taken, if so. */
  #take(source: IncomingMessage | Transform, end: (refusal?: GatewayError) => void): void {
    const request = this.#request
    let isOver = false
    const done = (refusal?: GatewayError) => {
      if (isOver) return
      isOver = true
      source.off('data', take)
      end(refusal)
    }
    const take = (chunk: Buffer) => {
      const refusal = this.#keep(chunk)
      if (refusal) done(refusal)
    }
    const fail = (cause: unknown) => done(unreadable(cause))
    source.on('data', take)
    source.on('end', () => done(this.#announced !== undefined && this.#length < this.#announced ? unreadable() : undefined))
    source.on('error', fail)
    // A client that leaves does not end an inflater.
    if (source !== request) request.on('error', fail)
    request.on('close', () => {
      if (!request.complete) done(unreadable())
    })
  }

  #keep(chunk: Buffer): GatewayError | undefined {
    if (this.#announced === undefined) {
      const refusal = this.#reserve(chunk.length)
      if (!refusal) this.#parts.push(chunk)
      return refusal
    }
    if (chunk.length === this.#announced) this.#place = chunk
    else {
      this.#place ??= Buffer.allocUnsafe(this.#announced)
      chunk.copy(this.#place, this.#length)
    }
    this.#length += chunk.length
    return undefined
  }

  /** Gives back what was kept, and reads off what is still to come. */
  #refuse(done: () => void): void {
    this.#parts.length = 0
    this.#place = undefined
    this.release()
    void this.#readOff().then(done)
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
