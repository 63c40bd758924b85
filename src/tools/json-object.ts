/**
 * Reads a JSON object. A byte order mark in front of it, as .NET and Windows editors write it, is passed over (RFC 8259
 * section 8.1).
 *
 * @returns `undefined` for whatever is no JSON, or JSON of another kind. Never throws.
 */
export function parseJsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(text.startsWith('\ufeff') ? text.slice(1) : text)
    return isJsonObject(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}

/** Says whether a parsed value is an object, and neither an array nor `null`. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
