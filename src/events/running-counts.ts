import { OTHER } from '../../otel/semconv.ts'

/** One row of a running table. */
export interface CountRow<Key extends string> {
  readonly key: Readonly<Record<Key, string>>
  readonly count: number
  /** Epoch milliseconds. */
  readonly lastSeenMs: number
}

/** A counting row while it still changes. */
interface Count<Key extends string> {
  readonly key: Readonly<Record<Key, string>>
  count: number
  lastSeenMs: number
}

/**
 * Counts by a key of several words, since the process began: right even when the counted rows are long forgotten.
 *
 * When the table is full, new keys are counted under `_other` in the place of `unbounded`, the one word of the key that
 * has no closed list; the other words bound what is left.
 */
export class RunningCounts<Key extends string> {
  readonly #counts = new Map<string, Count<Key>>()
  readonly #unbounded: Key
  readonly #most: number

  constructor({ unbounded, most }: { unbounded: Key; most: number }) {
    this.#unbounded = unbounded
    this.#most = most
  }

  add(key: Readonly<Record<Key, string>>, atMs: number): void {
    const count = this.#find(key) ?? this.#open(key)
    count.count += 1
    count.lastSeenMs = Math.max(count.lastSeenMs, atMs)
  }

  /** All rows, the most frequent first. */
  rows(): CountRow<Key>[] {
    return Array.from(this.#counts.values(), count => ({ ...count })).sort((a, b) => b.count - a.count || b.lastSeenMs - a.lastSeenMs)
  }

  #find(key: Readonly<Record<Key, string>>): Count<Key> | undefined {
    return this.#counts.get(joined(key))
  }

  #open(key: Readonly<Record<Key, string>>): Count<Key> {
    if (this.#counts.size >= this.#most && key[this.#unbounded] !== OTHER) {
      const shared = { ...key, [this.#unbounded]: OTHER }
      return this.#find(shared) ?? this.#open(shared)
    }
    const count: Count<Key> = { key, count: 0, lastSeenMs: 0 }
    this.#counts.set(joined(key), count)
    return count
  }
}

function joined(key: Readonly<Record<string, string>>): string {
  let text = ''
  for (const word in key) text += `${key[word]}\0`
  return text
}
