import { clearInterval, setInterval } from 'node:timers'
import type { RequestHandler, Response } from 'express'

/** How often, at the most, pages hear that something changed. */
const TELL_MS = 500
/** A line without meaning this often, so that a connection that is dead is noticed. */
const HEARTBEAT_MS = 15_000
const MOST_PAGES = 50

/** Tells open pages that there is something new, by server-sent events. What it is they ask themselves. */
export class LiveEvents {
  readonly #versionOf: () => string
  readonly #pages = new Set<Response>()
  #timer: NodeJS.Timeout | undefined
  #told = ''
  #quietMs = 0

  constructor(versionOf: () => string) {
    this.#versionOf = versionOf
  }

  readonly connect: RequestHandler = (request, response) => {
    if (this.#pages.size >= MOST_PAGES) {
      response.status(503).json({ error: { code: 'GW_CLOSED', message: `${MOST_PAGES} pages listen already: close one` } })
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
    response.write(`retry: 1000\nevent: changed\ndata: ${this.#versionOf()}\n\n`)
    this.#pages.add(response)
    request.socket.setTimeout(0)
    response.once('close', () => this.#leave(response))
    if (this.#timer) return
    this.#told = this.#versionOf()
    this.#timer = setInterval(() => this.#tick(), TELL_MS).unref()
  }

  /** Ends every connection: a server that stops must not wait for pages. */
  stop(): void {
    for (const page of this.#pages) page.end()
  }

  #tick(): void {
    const version = this.#versionOf()
    this.#quietMs += TELL_MS
    const isNew = version !== this.#told
    if (!isNew && this.#quietMs < HEARTBEAT_MS) return
    this.#quietMs = 0
    this.#told = version
    for (const page of this.#pages) page.write(isNew ? `event: changed\ndata: ${version}\n\n` : ': still here\n\n')
  }

  #leave(page: Response): void {
    this.#pages.delete(page)
    if (this.#pages.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
