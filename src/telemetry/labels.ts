import { LABELS, OTHER } from '../../otel/names.ts'
import { scrubText } from './scrub.ts'

/** Longest label value. */
const LONGEST = 120

/**
 * Keeps label values bounded: a closed list lets only its values through, a capped label mints so many distinct values
 * per process and shows the rest as `_other`.
 *
 * Without this, a caller or model name that a client controls grows the series of every metric without end.
 */
export class Labels {
  readonly #seen = new Map<string, Map<string, string>>()
  readonly #onOverflow: (label: string) => void

  constructor(onOverflow: (label: string) => void) {
    this.#onOverflow = onOverflow
  }

  /** The value as it may stand in the label `key`. Unknown labels are the programmer's mistake. @throws {TypeError} */
  value(key: string, value: string | number): string {
    const text = typeof value === 'number' ? String(value) : value
    let known = this.#seen.get(key)
    if (!known) {
      known = new Map()
      this.#seen.set(key, known)
    }
    return known.get(text) ?? this.#mint(key, text, known)
  }

  #mint(key: string, text: string, known: Map<string, string>): string {
    const definition = LABELS[key]
    if (!definition) throw new TypeError(`label ${key} is not in otel/names.ts`)
    const allowed = definition.values ? definition.values.includes(text) : known.size < (definition.cap ?? 0)
    if (!allowed) {
      this.#onOverflow(key)
      return OTHER
    }
    const safe = scrubText(text).slice(0, LONGEST)
    known.set(text, safe)
    return safe
  }
}
