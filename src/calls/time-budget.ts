/** A time limit for one kind of step of a call, over all its profiles: what one step takes, the next ones lack. */
export class TimeBudget {
  #leftMs: number

  constructor(limitMs: number) {
    this.#leftMs = limitMs
  }

  /** Ms that are left, not negative. */
  get leftMs(): number {
    return Math.max(0, this.#leftMs)
  }

  /** Begins a step. @returns Ends it, once. */
  begin(): () => void {
    const startedAt = performance.now()
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      this.#leftMs -= performance.now() - startedAt
    }
  }
}
