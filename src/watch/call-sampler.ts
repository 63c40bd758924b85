/** Ordinary calls that are recorded one by one. Waking up after a pause, and with every few calls, a process records them all. */
export const SAMPLE_DEFAULTS = { burst: 50, aSecond: 10 } as const

/** Frames of a call that is kept only if it is the first to fail, where the caller's place on the stack is not known; at most. */
const FRAMES_OF_ORDINARY = 8

/** So long after a call that failed or was slow, the ones that follow may do so too: their callers are noted in full. */
const DISTURBED_MS = 30_000

interface Bucket {
  tokens: number
  atMs: number
  /** Calls that were passed over since one was recorded. */
  passedOver: number
  disturbedUntilMs: number
  /** Frames down to the application's, in the call recorded that had the most of a library before them. */
  framesToCaller: number
}

/**
 * Chooses which of the calls that went well are recorded: the first ones, then so many a second. A call that failed is
 * never put before it.
 */
export class CallSampler {
  readonly #buckets = new Map<string, Bucket>()

  /**
   * Frames to note of a call that begins now; `undefined` for all of them. A call that is not likely to be recorded shows its caller
   * and who called that one: V8 takes some two microseconds for each frame in a process under load.
   */
  framesOf(service: string, nowMs: number): number | undefined {
    if (this.#isLikely(service, nowMs)) return undefined
    const known = this.#buckets.get(service)?.framesToCaller || FRAMES_OF_ORDINARY
    return Math.min(known + 1, FRAMES_OF_ORDINARY)
  }

  /** @param frames Frames of a recorded call down to the application's; 0 where none of them is the application's. */
  recorded(service: string, frames: number, nowMs: number): void {
    const bucket = this.#bucket(service, nowMs)
    bucket.framesToCaller = Math.max(bucket.framesToCaller, frames || FRAMES_OF_ORDINARY)
  }

  /** A call failed, or was slow. */
  disturbed(service: string, nowMs: number): void {
    this.#bucket(service, nowMs).disturbedUntilMs = nowMs + DISTURBED_MS
  }

  /**
   * @param service Each service has a sample of its own, so that a busy one leaves room for the others.
   * @param nowMs By `performance.now()`.
   * @returns How many calls the one at hand stands for, itself included; 0 when it is passed over.
   */
  take(service: string, nowMs: number): number {
    const bucket = this.#bucket(service, nowMs)
    bucket.tokens = tokensAt(bucket, nowMs)
    bucket.atMs = nowMs
    if (bucket.tokens < 1) {
      bucket.passedOver += 1
      return 0
    }
    bucket.tokens -= 1
    const weight = bucket.passedOver + 1
    bucket.passedOver = 0
    return weight
  }

  /** Says whether a call that begins now is likely to be recorded: there is room, or the last ones did not go well. */
  #isLikely(service: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(service)
    return !bucket || nowMs < bucket.disturbedUntilMs || tokensAt(bucket, nowMs) >= 1
  }

  #bucket(service: string, nowMs: number): Bucket {
    let bucket = this.#buckets.get(service)
    if (!bucket) {
      bucket = { tokens: SAMPLE_DEFAULTS.burst, atMs: nowMs, passedOver: 0, disturbedUntilMs: 0, framesToCaller: 0 }
      this.#buckets.set(service, bucket)
    }
    return bucket
  }
}

function tokensAt({ tokens, atMs }: Bucket, nowMs: number): number {
  const { burst, aSecond } = SAMPLE_DEFAULTS
  return Math.min(burst, tokens + ((nowMs - atMs) * aSecond) / 1000)
}
