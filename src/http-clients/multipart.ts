/** What a part that is a file reads as: its content is not read here. */
export const FILE_PART = Symbol('file')

/**
 * Reads the fields of a `multipart/form-data` body: a text field's value, `FILE_PART` for a file.
 *
 * @returns `undefined` when the body is something else.
 * @see RFC 7578
 */
export function readMultipart(body: string): Record<string, unknown> | undefined {
  const boundary = /^--[^\r\n]{1,70}(?=\r?\n)/.exec(body)?.[0]
  if (boundary === undefined) return undefined
  const fields: [string, unknown][] = []
  for (const part of body.split(boundary).slice(1)) {
    const [head, value] = splitPart(part)
    const name = /;\s{0,4}name="([^"\r\n]*)"/i.exec(head)?.[1]
    if (name !== undefined) fields.push([name, /;\s{0,4}filename[*]?=/i.test(head) ? FILE_PART : value])
  }
  return fields.length === 0 ? undefined : Object.fromEntries(fields)
}

/** Head and value of a part; the line break before the next boundary belongs to the boundary. */
function splitPart(part: string): [string, string] {
  const gap = /\r?\n\r?\n/.exec(part)
  if (!gap) return [part, '']
  return [part.slice(0, gap.index), part.slice(gap.index + gap[0].length).replace(/\r?\n$/, '')]
}
