/** Shorter texts are too likely to stand in others by chance. */
const SHORTEST = 8
/** Texts remembered at the most; the oldest go first. */
const MOST = 5_000

/** Every text, by its first characters. */
const byHead = new Map<string, Set<string>>()
const all = new Set<string>()
let changes = 0

/**
 * Remembers a text that must never be shown: a key or token of this process. Patterns know the usual shapes of secrets;
 * this knows the ones that are in use, whatever they look like.
 */
export function hideText(text: string | undefined): void {
  if (text === undefined || text.length < SHORTEST || all.has(text)) return
  if (all.size >= MOST) forget(all.values().next().value ?? '')
  all.add(text)
  const head = text.slice(0, SHORTEST)
  const others = byHead.get(head)
  if (others) others.add(text)
  else byHead.set(head, new Set([text]))
  changes += 1
}

/** Changes whenever a text is added: what was found harmless before has to be looked at again. */
export function hiddenTextChanges(): number {
  return changes
}

/** Replaces every hidden text in `text`, and the beginning of one that was cut, by `instead`. */
export function withoutHiddenTexts(text: string, instead: string): string {
  if (all.size === 0 || text.length < SHORTEST) return text
  let clean = ''
  let from = 0
  for (let at = 0; at + SHORTEST <= text.length; at += 1) {
    const candidates = byHead.get(text.slice(at, at + SHORTEST))
    if (!candidates) continue
    const length = Math.max(...Array.from(candidates, hidden => commonLength(hidden, text, at)))
    clean += text.slice(from, at) + instead
    from = at + length
    at = from - 1
  }
  return from === 0 ? text : clean + text.slice(from)
}

function commonLength(hidden: string, text: string, at: number): number {
  let length = SHORTEST
  while (length < hidden.length && hidden[length] === text[at + length]) length += 1
  return length
}

function forget(text: string): void {
  all.delete(text)
  const head = text.slice(0, SHORTEST)
  const others = byHead.get(head)
  others?.delete(text)
  if (others?.size === 0) byHead.delete(head)
}
