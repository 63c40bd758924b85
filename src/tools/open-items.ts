/** Where an item stands; what `add` gives and `remove` takes. */
export interface OpenItem<Item> {
  readonly item: Item
  /** Index in the list; -1 once it was removed. */
  place: number
}

/**
 * What is under way, in no order: adding and removing cost the same however much there is.
 *
 * A `Set` to which each request is added and from which it is removed is built again every few requests, and V8 leaves in
 * the old table a pointer to the new one. Once one of the old tables has been promoted to the old generation, it keeps all
 * that come after it, with every request that stood in them, until the next full collection: a fifth of all that was
 * allocated was copied at each collection of the young generation, and 100 MB of garbage stood in the old one.
 */
export class OpenItems<Item> {
  readonly #items: OpenItem<Item>[] = []

  get size(): number {
    return this.#items.length
  }

  add(item: Item): OpenItem<Item> {
    const open = { item, place: this.#items.length }
    this.#items.push(open)
    return open
  }

  /** Does nothing a second time. */
  remove(open: OpenItem<Item>): void {
    const { place } = open
    const last = this.#items.at(-1)
    if (!last || place < 0 || this.#items[place] !== open) return
    this.#items.pop()
    if (last !== open) {
      this.#items[place] = last
      last.place = place
    }
    open.place = -1
  }

  clear(): void {
    for (const open of this.#items.splice(0)) open.place = -1
  }

  /** Those that are there now; what is removed meanwhile is given all the same. */
  all(): Item[] {
    return this.#items.map(({ item }) => item)
  }
}
