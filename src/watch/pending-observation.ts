import type { OpenItem, OpenItems } from '../tools/open-items.ts'
import type { Observation, ObservationSink } from './observation.ts'

/** Something that ends in an observation, or in nothing that anybody wants to hear of. */
export interface EndObserver<End> {
  ended(end: End): Observation | undefined
}

/** What is under way, for the case that the process ends. */
type Open = OpenItems<{ leave(): void }>

/** Its receiver. */
export interface ObservationTarget {
  readonly sink: ObservationSink
  readonly open: Open
}

/** So much under way is remembered; what is more is not reported when the process ends. */
const MOST_OPEN = 1_000

/** Something under way: the sink is reported once how it ended, by itself or left behind by a process that ends first. */
export class PendingObservation<End> {
  readonly #seen: EndObserver<End>
  readonly #left: End
  readonly #to: ObservationTarget
  readonly #open: OpenItem<{ leave(): void }> | undefined
  #isReported = false

  /** @param left How it ends when it is left behind. */
  constructor(seen: EndObserver<End>, left: End, to: ObservationTarget) {
    this.#seen = seen
    this.#left = left
    this.#to = to
    this.#open = to.open.size < MOST_OPEN ? to.open.add(this) : undefined
  }

  report(end: End): void {
    if (this.#isReported) return
    this.#isReported = true
    const { sink, open } = this.#to
    if (this.#open) open.remove(this.#open)
    const observation = this.#seen.ended(end)
    if (observation) sink.take(observation)
  }

  leave(): void {
    this.report(this.#left)
  }
}
