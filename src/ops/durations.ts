/** Bins grow by a quarter from half a millisecond to twenty minutes: a quantile is right within an eighth. */
const LEAST_MS = 0.5
const GROWTH = 1.25
const BINS = 66

/** Durations counted into bins, for quantiles over any number of them in bounded room. */
export class Durations {
  readonly #bins = new Uint32Array(BINS)
  #count = 0

  get count(): number {
    return this.#count
  }

  /** @param times How often it was measured. */
  add(durationMs: number, times = 1): void {
    const bin = durationMs <= LEAST_MS ? 0 : Math.ceil(Math.log(durationMs / LEAST_MS) / Math.log(GROWTH))
    const index = Math.min(bin, BINS - 1)
    this.#bins[index] = (this.#bins[index] ?? 0) + times
    this.#count += times
  }

  addAll(other: Durations): void {
    for (let index = 0; index < BINS; index += 1) this.#bins[index] = (this.#bins[index] ?? 0) + (other.#bins[index] ?? 0)
    this.#count += other.#count
  }

  /** @param share Between 0 and 1. @returns Milliseconds; `undefined` when nothing was counted. */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined
    const wanted = share * this.#count
    let before = 0
    for (let index = 0; index < BINS; index += 1) {
      const here = this.#bins[index] ?? 0
      if (here > 0 && before + here >= wanted) {
        const upper = LEAST_MS * GROWTH ** index
        const lower = index === 0 ? 0 : upper / GROWTH
        return lower + ((upper - lower) * Math.max(0, wanted - before)) / here
      }
      before += here
    }
    return LEAST_MS * GROWTH ** (BINS - 1)
  }
}
