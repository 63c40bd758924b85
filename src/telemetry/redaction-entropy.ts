/** A name with one number in it at most: `v2`, `sha256`, `refreshOpenAICodexToken`, `20250514`. */
const WORD = /^(?:[A-Za-z]*\d{0,4}[A-Za-z]*|\d{1,14})$/
/** Longest part that may look random and still be a content hash in a file's name (`store-CWpdPPTd.js`). */
const LONGEST_HASH = 12
/** No name of code, file or model has a word as long as this. */
const LONGEST_WORD = 56
/** Shortest run of random characters worth hiding: 32 characters of base64 are 24 bytes, of hex 16. */
const SHORTEST = 32

/**
 * Says whether a name looks like random bytes in hex, base64url or base62, not like words.
 *
 * Names are parted by hyphens and underscores into words, and words hold few numbers; random characters change between
 * letters and digits all the time. One short random part is let through: bundlers put a hash behind a file's name.
 *
 * @param name Characters `[A-Za-z0-9_+=~-]` only.
 */
export function isHighEntropy(name: string): boolean {
  let hashes = 0
  for (const part of name.split(/[_+=~-]+/)) {
    if (part.length > LONGEST_WORD || (part.length >= 20 && changesOf(part).numbers >= 3)) return true
    if (name.length < SHORTEST || WORD.test(part)) continue
    hashes += 1
    if (part.length > LONGEST_HASH || hashes > 1) return true
  }
  return looksRandom(name)
}

/**
 * Says whether a run of characters, parted or not, changes between upper case, lower case and digits as random ones do.
 *
 * Of 24 random bytes in base64 three in a hundred pass as words, of 32 bytes fewer than one; camel case changes at less
 * than 0.4 of its places, random base64 at 0.6, random hex at 0.5 with a number every four characters.
 *
 * @param run Characters `[A-Za-z0-9_+/=~-]`.
 */
export function looksRandom(run: string): boolean {
  if (run.length < SHORTEST) return false
  const { characters, changes, numbers } = changesOf(run)
  const ratio = changes / Math.max(1, characters - 1)
  return ratio > 0.5 || (ratio > 0.45 && numbers >= 2) || numbers >= Math.max(4, characters / 8)
}

/** Counts letters and digits, changes of case among them, and numbers that touch a letter; separators touch nothing. */
function changesOf(run: string): { characters: number; changes: number; numbers: number } {
  let characters = 0
  let changes = 0
  let numbers = 0
  let before = NONE
  for (let index = 0; index < run.length; index += 1) {
    const now = caseOf(run.charCodeAt(index))
    if (now === NONE) {
      before = NONE
      continue
    }
    characters += 1
    if (before !== NONE && now !== before) {
      changes += 1
      if (now === DIGIT) numbers += 1
    }
    before = now
  }
  return { characters, changes, numbers }
}

const NONE = 0
const DIGIT = 1

function caseOf(code: number): number {
  if (code >= 97 && code <= 122) return 3
  if (code >= 65 && code <= 90) return 2
  return code >= 48 && code <= 57 ? DIGIT : NONE
}
