/** The newest items, so many at most. Adding takes the same time however many there are. */
export class Ring<T> {
  readonly #items: T[] = []
  readonly #most: number
  #next = 0
  #dropped = 0

  /** @throws {RangeError} if `most` is not a positive whole number. */
  constructor(most: number) {
    if (!Number.isInteger(most) || most < 1) throw new RangeError(`a ring holds at least one item, not ${most}`)
    this.#most = most
  }

  get size(): number {
    return this.#items.length
  }

  /** Items that had to make room for newer ones. */
  get dropped(): number {
    return this.#dropped
  }

  push(item: T): void {
    if (this.#items.length === this.#most) this.#dropped += 1
    this.#items[this.#next] = item
    this.#next = (this.#next + 1) % this.#most
  }

  *newestFirst(): Generator<T> {
    const { length } = this.#items
    for (let back = 1; back <= length; back += 1) yield this.#items[(this.#next - back + this.#most) % this.#most] as T
  }
}
