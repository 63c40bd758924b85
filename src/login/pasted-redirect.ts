/**
 * Reads what somebody pasted who was asked for the address the browser ended at: the whole URL, its query alone, or the
 * `code#state` that some providers show on a page.
 *
 * @returns `undefined` when there is no code, and no refusal, in it.
 */
export function readPasted(text: string): URLSearchParams | undefined {
  const pasted = text.trim().replace(/^["'<]+|["'>]+$/g, '')
  const parameters = parametersOf(pasted)
  if (parameters?.has('code') || parameters?.has('error')) return parameters
  const [, code, state] = /^([\w.~-]{8,})#([\w.~-]+)$/.exec(pasted) ?? []
  return code !== undefined && state !== undefined ? new URLSearchParams({ code, state }) : undefined
}

function parametersOf(pasted: string): URLSearchParams | undefined {
  const url = /^https?:\/\//i.test(pasted) ? URL.parse(pasted) : null
  if (url) return url.searchParams
  return /^\??[\w-]+=/.test(pasted) ? new URLSearchParams(pasted) : undefined
}
