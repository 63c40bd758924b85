/** How fine, and how far back: the newest `most` steps are kept. */
interface Resolution {
  readonly stepMs: number
  readonly most: number
}

/** Five seconds for an hour, a minute for a day, a quarter of an hour for four weeks. */
const RESOLUTIONS: readonly Resolution[] = [
  { stepMs: 5_000, most: 720 },
  { stepMs: 60_000, most: 1_440 },
  { stepMs: 900_000, most: 2_688 },
]

/** The buckets of a span of time. */
export interface Slice<T> {
  readonly stepMs: number
  readonly fromMs: number
  readonly buckets: readonly { readonly atMs: number; readonly bucket: T }[]
}

/**
 * Something counted over time, kept at three resolutions; so that a month takes bounded room and an hour is fine.
 *
 * What is counted must be counted into every bucket that `at` gives.
 */
export class TimeBuckets<T> {
  readonly #create: () => T
  readonly #kept = RESOLUTIONS.map(resolution => ({ ...resolution, buckets: new Map<number, T>(), newest: 0 }))

  constructor(create: () => T) {
    this.#create = create
  }

  /** The buckets of a moment, one for each resolution that still reaches back to it. */
  at(atMs: number): T[] {
    const found: T[] = []
    for (const kept of this.#kept) {
      const index = Math.floor(atMs / kept.stepMs)
      if (index > kept.newest) {
        kept.newest = index
        for (const old of kept.buckets.keys()) if (old <= index - kept.most) kept.buckets.delete(old)
      }
      if (index <= kept.newest - kept.most) continue
      let bucket = kept.buckets.get(index)
      if (bucket === undefined) {
        bucket = this.#create()
        kept.buckets.set(index, bucket)
      }
      found.push(bucket)
    }
    return found
  }

  /** What was counted from `fromMs` to `toMs`, in the finest steps that reach back so far. */
  between(fromMs: number, toMs: number): Slice<T> {
    const kept = this.#kept.find(({ stepMs, most }) => (toMs - fromMs) / stepMs <= most) ?? this.#kept.at(-1)
    if (!kept) return { stepMs: 1, fromMs, buckets: [] }
    const first = Math.floor(fromMs / kept.stepMs)
    const last = Math.floor(toMs / kept.stepMs)
    const buckets = [...kept.buckets]
      .filter(([index]) => index >= first && index <= last)
      .sort(([a], [b]) => a - b)
      .map(([index, bucket]) => ({ atMs: index * kept.stepMs, bucket }))
    return { stepMs: kept.stepMs, fromMs: first * kept.stepMs, buckets }
  }
}
