import type { Fingerprint } from '../domain/fingerprint.ts'
import type { BufferedResponse } from '../http-clients/buffered-response.ts'
import { agedAnswer, grantedRefresh } from '../token-requests/token-response.ts'
import type { Clock } from '../tools/clock.ts'

/** What makes two refreshes the same. */
export interface AskedRefresh {
  readonly url: string
  /** The refresh token that is sent. */
  readonly refresh: Fingerprint
  /** Digest of whatever else is asked for: client, scopes, audience. */
  readonly rest: Fingerprint
}

/** How a request ended that others wait for; `unshared` when its answer is none that could be given to them. */
export type InflightSettlement = { readonly answer: BufferedResponse } | { readonly error: unknown } | 'send_independently'

/** One upstream request that several wait for. */
export interface Inflight {
  readonly settled: Promise<InflightSettlement>
  /** Who waits for it in addition to the one who sent it. */
  waiting: number
  /** When it was sent, by the monotonic clock. */
  readonly sentAtMs: number
  /** How long it is waited for when no caller waits any more, in ms. */
  readonly abandonedMs: number
  /** The caller that sent it waits no longer. */
  isLeft: boolean
  /** Reported once, by a caller that leads; later ones are ignored. */
  settle(landing: InflightSettlement): void
}

/** What is done with a refresh: sent and shared, or answered by what another got or gets. */
type RefreshTurn =
  | { readonly decision: 'lead'; readonly inflight: Inflight }
  | { readonly decision: 'join'; readonly inflight: Inflight }
  /** `reuse`: what this very token was exchanged for; `adopt`: that has been rotated since, this is the newest. */
  | { readonly decision: 'reuse' | 'adopt'; readonly answer: BufferedResponse }

interface InflightRefreshesOptions {
  /** For how long an answer is kept for those who replay the token it replaced, in ms; 0 keeps none. */
  windowMs: number
  clock: Clock
  /**
   * How long a request that no caller waits for any more is waited for, in ms: an application with a time limit that tries again
   * gets the answer of a slow token endpoint, instead of a replay of its token; one that hangs must not hold up its next try.
   *
   * @default 5_000
   */
  abandonedMs?: number
}

const ABANDONED_MS = 5_000

interface Kept {
  readonly answer: BufferedResponse
  readonly next: string
  /** By the monotonic clock. */
  readonly atMs: number
}

/** Longer than any token answer; what is kept of all answers together is bounded too. */
const MOST_KEPT_ANSWER = 64 * 1024
const MOST_KEPT_BYTES = 1024 * 1024
const MOST_KEPT = 200

/**
 * Refreshes that share answers: identical ones share one that is in flight, and a token that was rotated away gets what
 * came of it, for a while. A failure is shared by those in flight, and never kept.
 */
export class InflightRefreshes {
  readonly #windowMs: number
  readonly #clock: Clock
  readonly #abandonedMs: number
  readonly #running = new Map<string, Inflight>()
  /** In the order in which they were rotated, which is that in which they are forgotten. */
  readonly #kept = new Map<string, Kept>()
  #keptBytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor({ windowMs, clock, abandonedMs = ABANDONED_MS }: InflightRefreshesOptions) {
    this.#abandonedMs = abandonedMs
    this.#windowMs = windowMs
    this.#clock = clock
  }

  /** Bytes of the answers that are kept. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** Decides about one refresh. The caller that is asked to lead must land the refresh, whatever happens. */
  ask(asked: AskedRefresh): RefreshTurn {
    const key = keyOf(asked)
    const running = this.#running.get(key)
    if (running && !this.#isAbandoned(running)) return { decision: 'join', inflight: running }
    this.#forgetOld()
    const own = this.#kept.get(key)
    if (!own) return { decision: 'lead', inflight: this.#begin(asked, key) }
    const newest = this.#newestAfter(own)
    const answer = agedAnswer(newest.answer, this.#clock.monotonic() - newest.atMs)
    return { decision: newest === own ? 'reuse' : 'adopt', answer }
  }

  /** Forgets every answer that is kept. */
  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#kept.clear()
    this.#keptBytes = 0
  }

  #isAbandoned({ isLeft, waiting, sentAtMs }: Inflight): boolean {
    return isLeft && waiting === 0 && this.#clock.monotonic() - sentAtMs >= this.#abandonedMs
  }

  #begin(asked: AskedRefresh, key: string): Inflight {
    const { promise, resolve } = Promise.withResolvers<InflightSettlement>()
    const inflight: Inflight = {
      settled: promise,
      waiting: 0,
      isLeft: false,
      sentAtMs: this.#clock.monotonic(),
      abandonedMs: this.#abandonedMs,
      settle: landing => {
        // First: whatever keeping it runs into, nothing may go on waiting for it.
        resolve(landing)
        if (this.#running.get(key) !== inflight) return
        this.#running.delete(key)
        if (landing !== 'send_independently' && 'answer' in landing) this.#keep(asked, key, landing.answer)
      },
    }
    this.#running.set(key, inflight)
    return inflight
  }

  #keep(asked: AskedRefresh, key: string, answer: BufferedResponse): void {
    const refresh = grantedRefresh(answer)
    // A token that stays good is no replay when it is sent again.
    if (this.#windowMs <= 0 || refresh === undefined || refresh === asked.refresh) return
    if (answer.body.byteLength > MOST_KEPT_ANSWER) return
    this.#forget(key)
    this.#kept.set(key, { answer, next: keyOf({ ...asked, refresh }), atMs: this.#clock.monotonic() })
    this.#keptBytes += answer.body.byteLength
    while (this.#keptBytes > MOST_KEPT_BYTES || this.#kept.size > MOST_KEPT) this.#forgetOldest()
    this.#wakeLater()
  }

  #newestAfter(own: Kept): Kept {
    const passed = new Set([own])
    let newest = own
    for (let next = this.#kept.get(own.next); next && !passed.has(next); next = this.#kept.get(next.next)) {
      passed.add(next)
      newest = next
    }
    return newest
  }

  #forgetOld(): void {
    const now = this.#clock.monotonic()
    for (const [key, { atMs }] of this.#kept) {
      if (now - atMs < this.#windowMs) return
      this.#forget(key)
    }
  }

  #forgetOldest(): void {
    const [oldest] = this.#kept.keys()
    if (oldest !== undefined) this.#forget(oldest)
  }

  #forget(key: string): void {
    this.#keptBytes -= this.#kept.get(key)?.answer.body.byteLength ?? 0
    this.#kept.delete(key)
  }

  /** Tokens do not lie about longer than they are of use, even when no caller asks any more. */
  #wakeLater(): void {
    const [oldest] = this.#kept.values()
    if (this.#timer || !oldest) return
    const wake = () => {
      this.#timer = undefined
      this.#forgetOld()
      this.#wakeLater()
    }
    this.#timer = setTimeout(wake, Math.max(1, oldest.atMs + this.#windowMs - this.#clock.monotonic())).unref()
  }
}

function keyOf({ url, refresh, rest }: AskedRefresh): string {
  return `${refresh} ${rest} ${url}`
}
