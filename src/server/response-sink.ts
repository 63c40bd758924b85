import type { ServerResponse } from 'node:http'
import type { CallSink, Served } from '../calls/call-request.ts'
import { returnedHeaders } from '../calls/passed-headers.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import type { AnswerHeaders, Flow } from '../providers/upstream.ts'

/**
 * Hands an answer to an HTTP client as it comes: same bytes, same chunks, and the provider waits while the client does.
 *
 * A client that leaves a full buffer unread for too long is cut off, so that it cannot hold a provider's stream for ever.
 */
export class ResponseSink implements CallSink {
  readonly #response: ServerResponse
  readonly #slowClientMs: number
  #flow: Flow | undefined
  #hasBody = false
  #slow: NodeJS.Timeout | undefined

  constructor(response: ServerResponse, slowClientMs: number) {
    this.#response = response
    this.#slowClientMs = slowClientMs
  }

  head(status: number, headers: AnswerHeaders, served: Served, flow: Flow): void {
    this.#flow = flow
    this.#response.writeHead(status, returnedHeaders(headers, served))
    // A client that waits for the first event must at least see that it was accepted; where the body comes along with
    // the head, both go out in one write.
    setImmediate(() => {
      if (!this.#hasBody && !this.#response.destroyed) this.#response.flushHeaders()
    })
    this.#response.on('drain', () => this.#goOn())
    this.#response.on('close', () => clearTimeout(this.#slow))
  }

  chunk(chunk: Buffer): boolean {
    this.#hasBody = true
    if (this.#response.write(chunk)) return true
    this.#waitForClient()
    return false
  }

  end(): void {
    this.#hasBody = true
    this.#response.end()
    // The last bytes may be left unread as well; `close` comes as soon as they are taken. Mostly the kernel has them by now.
    if (this.#response.writableLength > 0) this.#waitForClient()
  }

  fail(_error: GatewayError): void {
    // The head is out; the only honest way left to say "incomplete" is to break the connection.
    this.#response.destroy()
  }

  #waitForClient(): void {
    this.#slow ??= setTimeout(() => this.#response.destroy(), this.#slowClientMs)
  }

  #goOn(): void {
    clearTimeout(this.#slow)
    this.#slow = undefined
    this.#flow?.resume()
  }
}
