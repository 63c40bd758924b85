import type { OpenItem, OpenItems } from '../tools/open-items.ts'
import type { Observation, ObservationSink } from './observation.ts'

/** Something that ends in an observation, or in nothing that anybody wants to hear of. */
export interface Ending<End> {
  ended(end: End): Observation | undefined
}

/** What is under way, for the case that the process ends. */
type Open = OpenItems<{ leave(): void }>

/** Whom it is told to. */
export interface Telling {
  readonly sink: ObservationSink
  readonly open: Open
}

/** So much under way is remembered; what is more is not told when the process ends. */
const MOST_OPEN = 1_000

/** Something under way: the sink is told once how it ended, by itself or left behind by a process that ends first. */
export class Untold<End> {
  readonly #seen: Ending<End>
  readonly #left: End
  readonly #to: Telling
  readonly #open: OpenItem<{ leave(): void }> | undefined
  #isTold = false

  /** @param left How it ends when it is left behind. */
  constructor(seen: Ending<End>, left: End, to: Telling) {
    this.#seen = seen
    this.#left = left
    this.#to = to
    this.#open = to.open.size < MOST_OPEN ? to.open.add(this) : undefined
  }

  tell(end: End): void {
    if (this.#isTold) return
    this.#isTold = true
    const { sink, open } = this.#to
    if (this.#open) open.remove(this.#open)
    const observation = this.#seen.ended(end)
    if (observation) sink.take(observation)
  }

  leave(): void {
    this.tell(this.#left)
  }
}
