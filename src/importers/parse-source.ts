import type { CredentialReading } from './found-credential.ts'
import type { FoundProfile, Reading, UnusableProfile } from './found-profile.ts'

/** Collects what a source holds while it is read. Of two profiles with one id the first counts. */
export class SourceParser {
  readonly #places: string[] = []
  readonly #found = new Map<string, FoundProfile>()
  readonly #unusable = new Map<string, UnusableProfile>()
  readonly #order: string[] = []
  readonly #notes: string[] = []

  addPlace(path: string): void {
    this.#places.push(path)
  }

  note(sentence: string): void {
    this.#notes.push(sentence)
  }

  has(id: string): boolean {
    return this.#found.has(id) || this.#unusable.has(id)
  }

  /** @param notes What its owner says about it. */
  add(id: string, provider: string, reading: CredentialReading, notes: readonly string[] = []): void {
    if (this.has(id)) return
    if (reading.credential === undefined) this.#unusable.set(id, { id, provider, why: reading.why })
    else {
      const all = reading.note === undefined ? notes : [reading.note, ...notes]
      this.#found.set(id, { id, provider, credential: reading.credential, notes: all })
    }
  }

  setOrder(ids: readonly string[]): void {
    for (const id of ids) if (!this.#order.includes(id)) this.#order.push(id)
  }

  done(): Reading {
    return {
      places: this.#places,
      found: [...this.#found.values()],
      unusable: [...this.#unusable.values()],
      order: this.#order.filter(id => this.has(id)),
      notes: this.#notes,
    }
  }
}
