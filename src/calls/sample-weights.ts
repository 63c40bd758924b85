import type { SpanTree } from '../telemetry/span-tree.ts'

/** Profiles and models that are counted apart; a caller who makes models up must not fill the memory. */
const MOST_KEYS = 1_000
const OTHERS = ''

/**
 * Counts the good calls whose traces are not kept, so that each one that is kept says how many it stands for: their
 * sum is the number of all calls.
 */
export class SampleWeights {
  readonly #passedOver = new Map<string, number>()

  /** Takes one good call into account. @returns how many calls its spans stand for, itself included; 0 when they are not kept */
  take(profile: string, model: string, standing: SpanTree['standing']): number {
    if (standing === 'eventful') return 1
    const wanted = `${profile}\0${model}`
    const key = this.#passedOver.has(wanted) || this.#passedOver.size < MOST_KEYS ? wanted : OTHERS
    const before = this.#passedOver.get(key) ?? 0
    this.#passedOver.set(key, standing === 'chosen' ? 0 : before + 1)
    return standing === 'chosen' ? before + 1 : 0
  }
}
