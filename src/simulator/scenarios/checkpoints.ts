import type { KillPoint } from './step.ts'

/** Lets a play go on, or change something, when a token request has come so far. */
export class Checkpoints {
  readonly #awaited = new Map<KillPoint, (() => void)[]>()

  /** Does something, once, when the next token request is there; the provider goes on afterwards. */
  atNext(point: KillPoint, work: () => void): void {
    this.#awaited.set(point, [...(this.#awaited.get(point) ?? []), work])
  }

  next(point: KillPoint): Promise<void> {
    return new Promise(resolve => this.atNext(point, resolve))
  }

  /** A token request is there. */
  reached(point: KillPoint): void {
    const awaited = this.#awaited.get(point) ?? []
    this.#awaited.delete(point)
    for (const work of awaited) work()
  }
}
