import { clearInterval, setInterval } from 'node:timers'
import type { RequestHandler, Response } from 'express'

interface LiveEventsOptions {
  /** How often pages hear that something changed, in ms: once for all changes in between. @default 500 */
  everyMs?: number
  /** A line without meaning this often, so that a connection that is dead is noticed, in ms. @default 15_000 */
  heartbeatMs?: number
  /** A page that takes nothing for so long is let go, in ms; it connects again when it can. @default 30_000 */
  slowMs?: number
}

const LIVE_EVENTS_DEFAULTS = { everyMs: 500, heartbeatMs: 15_000, slowMs: 30_000 } as const satisfies LiveEventsOptions

const MOST_PAGES = 50

/** One open page. */
interface Page {
  readonly response: Response
  /** The version it was sent last. */
  sent: string
  quietMs: number
  /** How long it has taken nothing: what was written last waits in the buffer of its connection. 0 while it reads. */
  slowMs: number
}

/**
 * Reports to open pages that there is something new, by server-sent events. The pages ask for it themselves.
 *
 * A page that does not read gets nothing more until it has read, and then the newest version alone: at most one event waits for a page.
 */
export class LiveEvents {
  readonly #versionOf: () => Promise<string>
  readonly #options: Required<LiveEventsOptions>
  readonly #pages = new Set<Page>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false

  /** @param versionOf Changes with whatever a page shows; must not reject. */
  constructor(versionOf: () => Promise<string>, options: LiveEventsOptions = {}) {
    this.#versionOf = versionOf
    this.#options = { ...LIVE_EVENTS_DEFAULTS, ...options }
  }

  readonly connect: RequestHandler = (request, response) => {
    if (this.#pages.size >= MOST_PAGES) {
      response.status(503).json({ error: { code: 'GW_CLOSED', message: `${MOST_PAGES} pages listen already: close one` } })
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
    const page: Page = { response, sent: '', quietMs: 0, slowMs: 0 }
    this.#pages.add(page)
    request.socket.setTimeout(0)
    // A connection that breaks is no fault of ours; `close` follows.
    response.on('error', () => undefined)
    response.once('close', () => this.#leave(page))
    response.write('retry: 1000\n\n')
    this.#timer ??= setInterval(() => void this.#tick(), this.#options.everyMs).unref()
    void this.#tick()
  }

  /** Ends every connection: a server that stops must not wait for pages. */
  stop(): void {
    for (const { response, slowMs } of this.#pages) {
      if (slowMs > 0) response.destroy()
      else response.end()
    }
  }

  async #tick(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    const version = await this.#versionOf()
    this.#isAsking = false
    for (const page of this.#pages) this.#report(page, version)
  }

  #report(page: Page, version: string): void {
    const { everyMs, heartbeatMs, slowMs } = this.#options
    page.quietMs += everyMs
    // What was written before has not left yet: anything more would pile up in this process.
    if (page.response.writableLength > 0) {
      page.slowMs += everyMs
      if (page.slowMs >= slowMs) page.response.destroy()
      return
    }
    page.slowMs = 0
    if (version !== page.sent) page.response.write(`event: changed\ndata: ${version}\n\n`)
    else if (page.quietMs >= heartbeatMs) page.response.write(': still here\n\n')
    else return
    page.sent = version
    page.quietMs = 0
  }

  #leave(page: Page): void {
    this.#pages.delete(page)
    if (this.#pages.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
