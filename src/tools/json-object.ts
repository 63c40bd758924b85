/**
 * Reads a JSON object. A byte order mark in front of it, as .NET and Windows editors write it, is passed over (RFC 8259
 * section 8.1).
 *
 * @returns `undefined` for whatever is no JSON, or JSON of another kind. Never throws.
 */
export function parseJsonObject(text: string): Record<string, unknown> | undefined {
  const parsed = parsedJson(text)
  return isJsonObject(parsed) ? parsed : undefined
}

/** Reads a JSON array. @returns `undefined` for whatever is no JSON, or JSON of another kind. Never throws. */
export function parseJsonList(text: string): unknown[] | undefined {
  if (!/^\ufeff?\s*\[/.test(text)) return undefined
  const parsed = parsedJson(text)
  return Array.isArray(parsed) ? parsed : undefined
}

/** @returns `undefined` for what is no JSON, which no JSON is. */
function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text.startsWith('\ufeff') ? text.slice(1) : text)
  } catch {
    return undefined
  }
}

/**
 * Finds the end of the JSON object at the beginning of a text, in one pass. Whether it is valid JSON is for its reader to say.
 *
 * @returns Its length in characters, with white space or a byte order mark before it; `undefined` where the text begins with
 *   something else or ends inside it.
 */
export function jsonObjectLength(text: string): number | undefined {
  const [before] = /^\ufeff?\s*/.exec(text) ?? ['']
  if (text[before.length] !== '{') return undefined
  let depth = 0
  let isInString = false
  for (let at = before.length; at < text.length; at += 1) {
    const character = text[at]
    if (isInString && character === '\\') at += 1
    else if (character === '"') isInString = !isInString
    else if (!isInString && character === '{') depth += 1
    else if (!isInString && character === '}') depth -= 1
    if (depth === 0) return at + 1
  }
  return undefined
}

/** Says whether a parsed value is an object, and neither an array nor `null`. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
