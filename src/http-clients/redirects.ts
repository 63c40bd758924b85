import type { NotedFrames } from '../callers/async-stack.ts'

interface Expected {
  readonly frames: NotedFrames
  readonly until: number
}

const LIFETIME_MS = 10_000
const MOST_EXPECTED = 1000

/** Who asked for the requests that answers redirected: clients follow a redirect when no caller is on the stack any more. */
export class Redirects {
  readonly #expected = new Map<string, Expected>()

  /** An answer sends the client from `url` to another place. */
  note(url: string, status: number, location: string | undefined, frames: NotedFrames): void {
    if (status < 300 || status >= 400 || location === undefined || !URL.canParse(location, url)) return
    if (this.#expected.size >= MOST_EXPECTED) this.#expected.clear()
    this.#expected.set(new URL(location, url).href, { frames, until: performance.now() + LIFETIME_MS })
  }

  /** Frames of the request that was redirected to `url` a moment ago; reported once. */
  take(url: string): NotedFrames | undefined {
    if (this.#expected.size === 0) return undefined
    const expected = this.#expected.get(url)
    if (!expected) return undefined
    this.#expected.delete(url)
    return performance.now() < expected.until ? expected.frames : undefined
  }
}
