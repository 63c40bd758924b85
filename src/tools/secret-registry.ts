import { type Clock, systemClock } from './clock.ts'

/** Shorter texts are not hidden at all: nothing is, that every second text holds. */
const SHORTEST = 6
/** Names made of words are hidden anywhere in a text from this length on, shorter ones only where they are the whole text. */
const SHORTEST_OF_WORDS = 16
/** Shorter texts are hidden only where they are the whole text. */
const SHORTEST_ANYWHERE = 8
/** Random texts from this length on are known by their beginning as well. */
const SHORTEST_WITH_BEGINNING = 20
/** Shortest beginning that is known: `sk-proj-` begins many texts. */
const SHORTEST_BEGINNING = 12
/** How many characters of a long text are kept: they identify the whole text. */
const KEPT = 64
/** Texts are found by so many of their first characters. */
const HEAD = SHORTEST_ANYWHERE

/** How long a token is remembered after it was last seen. Every use sees it again. */
const TOKEN_LIFE_MS = 86_400_000
/** It is noted only so often that a token was seen again. */
const SEEN_EVERY_MS = 60_000
/** Tokens remembered: 12 MB of them. Those not seen for longest go first; configured keys are no part of this. */
const MOST_TOKENS = 50_000

/** A word of a name has one short number in it at most: `lm-studio`, `llama3`, `sk-no-key-required`. */
const WORD = /^(?:[A-Za-z]*(?:\d{1,4}[A-Za-z]*)?|\d{1,14})$/
const LONGEST_NAME = 256
/** Header and claims of a JWT, before its signature. They begin alike in many; what makes it a token is the signature. One without a signature is hidden as a whole. */
const BEFORE_SIGNATURE = /eyJ[\w-]*\.[\w-]*\.$/
const SHORTEST_SIGNATURE = 16

/** One hidden text and how it is searched for. */
interface Hidden {
  /** The text, or its beginning when it is long; of a JWT its signature. */
  readonly kept: string
  readonly length: number
  readonly hasBeginning: boolean
}

interface SecretRegistryOptions {
  clock?: Clock
  mostTokens?: number
}

/**
 * The keys and tokens of this process, which must never be shown. Patterns know the usual shapes of secrets; this knows
 * the ones that are in use, whatever they look like.
 */
export class SecretRegistry {
  readonly #clock: Clock
  readonly #mostTokens: number
  /** Texts hidden where they are the whole text. */
  readonly #whole = new Set<string>()
  /** Texts hidden anywhere, by their first characters. */
  readonly #byHead = new Map<string, Map<string, Hidden>>()
  readonly #pinned = new Set<string>()
  /** When each token was last seen, monotonic ms; those not seen for longest first. */
  readonly #tokens = new Map<string, number>()
  readonly #names = new Set<string>()
  #changes = 0

  constructor({ clock = systemClock, mostTokens = MOST_TOKENS }: SecretRegistryOptions = {}) {
    this.#clock = clock
    this.#mostTokens = mostTokens
  }

  /** Changes whenever a text is added: what was found harmless before has to be looked at again. */
  get changes(): number {
    return this.#changes
  }

  /** Hides a token, for a day after it was last seen. */
  hide(text: string | undefined): void {
    if (text === undefined || text.length < SHORTEST) return
    const looked = lookedFor(text)
    const kept = looked.slice(0, KEPT)
    if (this.#pinned.has(kept)) return
    const now = this.#clock.monotonic()
    const seenAt = this.#tokens.get(kept)
    if (seenAt !== undefined && now - seenAt < SEEN_EVERY_MS) return
    this.#tokens.delete(kept)
    this.#tokens.set(seenAt === undefined ? this.#add(looked) : kept, now)
    this.#forgetOld(now)
  }

  /** Hides a configured key for as long as the process runs. */
  pin(text: string | undefined): void {
    if (text === undefined || text.length < SHORTEST) return
    const looked = lookedFor(text)
    const kept = looked.slice(0, KEPT)
    if (this.#pinned.has(kept)) return
    this.#pinned.add(this.#tokens.delete(kept) ? kept : this.#add(looked))
  }

  /** Keeps a name shown although a key is the same word: `lm-studio` is the usual key of the provider of that name. */
  show(name: string): void {
    this.#names.add(name)
  }

  /** Replaces every hidden text in `text`, and the beginning of one that was cut, by `instead`. */
  replace(text: string, instead: string): string {
    if (this.#whole.has(text)) return this.#names.has(text) ? text : instead
    if (this.#byHead.size === 0 || text.length < HEAD) return text
    let clean = ''
    let from = 0
    for (let at = 0; at + HEAD <= text.length; at += 1) {
      const candidates = this.#byHead.get(text.slice(at, at + HEAD))
      if (!candidates) continue
      let length = 0
      for (const hidden of candidates.values()) length = Math.max(length, lengthAt(hidden, text, at))
      if (length === 0) continue
      const before = text.slice(from, at)
      clean += before.replace(BEFORE_SIGNATURE, '') + instead
      from = at + length
      at = from - 1
    }
    return from === 0 ? text : clean + text.slice(from)
  }

  /** @returns What is kept of the text. */
  #add(looked: string): string {
    this.#changes += 1
    // A slice would keep the whole text in memory.
    const kept = Buffer.from(looked.slice(0, KEPT)).toString()
    const isName = isOfWords(looked)
    if (looked.length < SHORTEST_ANYWHERE || (isName && looked.length < SHORTEST_OF_WORDS)) this.#whole.add(kept)
    else {
      const hidden = {
        kept,
        length: looked.length,
        hasBeginning: !isName && !looked.startsWith('eyJ') && looked.length >= SHORTEST_WITH_BEGINNING,
      }
      const head = kept.slice(0, HEAD)
      const others = this.#byHead.get(head)
      if (others) others.set(kept, hidden)
      else this.#byHead.set(head, new Map([[kept, hidden]]))
    }
    return kept
  }

  #forgetOld(now: number): void {
    for (const [kept, seenAt] of this.#tokens) {
      if (now - seenAt < TOKEN_LIFE_MS && this.#tokens.size <= this.#mostTokens) return
      this.#tokens.delete(kept)
      this.#whole.delete(kept)
      const head = kept.slice(0, HEAD)
      const others = this.#byHead.get(head)
      others?.delete(kept)
      if (others?.size === 0) this.#byHead.delete(head)
    }
  }
}

/** What of a text is looked for: all of it, or of a JWT the signature. */
function lookedFor(text: string): string {
  if (!text.startsWith('eyJ')) return text
  const signature = text.slice(text.lastIndexOf('.') + 1)
  return signature.length >= SHORTEST_SIGNATURE ? signature : text
}

/** Says whether a text is made of words, as a name is. */
function isOfWords(text: string): boolean {
  return text.length <= LONGEST_NAME && text.split(/[ ._:/@-]+/).every(word => WORD.test(word))
}

/** How much of `text` from `at` on is the hidden text, or its beginning; 0 for nothing of it. */
function lengthAt({ kept, length, hasBeginning }: Hidden, text: string, at: number): number {
  let common = HEAD
  while (common < kept.length && kept[common] === text[at + common]) common += 1
  // The process that wrote that much of a long one wrote the rest behind it.
  if (common === kept.length) return Math.min(length, text.length - at)
  return hasBeginning && common >= SHORTEST_BEGINNING ? common : 0
}

/** Those of this process. */
const ofProcess = new SecretRegistry()

/** Remembers a token that must never be shown, for a day after it was last seen. */
export function registerSecret(text: string | undefined): void {
  ofProcess.hide(text)
}

/** Remembers a configured key that must never be shown, for as long as the process runs. */
export function pinSecret(text: string | undefined): void {
  ofProcess.pin(text)
}

/** Keeps a configured name visible although a key is the same word. */
export function showName(name: string): void {
  ofProcess.show(name)
}

/** Changes whenever a text is added: what was found harmless before has to be looked at again. */
export function secretChanges(): number {
  return ofProcess.changes
}

/** Replaces every hidden text in `text`, and the beginning of one that was cut, by `instead`. */
export function withoutSecrets(text: string, instead: string): string {
  return ofProcess.replace(text, instead)
}
