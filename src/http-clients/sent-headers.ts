import type { ClientRequest } from 'node:http'
import type { UndiciRequest } from './request-body.ts'

/** Headers of a request, names in lower case, lists joined. */
export type SentHeaders = Readonly<Record<string, string>>

/** The headers of an undici request; it keeps the length of the body apart, and in some versions the type too. */
export function undiciHeaders({ headers, contentType, contentLength }: UndiciRequest): SentHeaders {
  const read: [string, string][] = []
  if (typeof contentType === 'string') read.push(['content-type', contentType])
  if (typeof contentLength === 'number') read.push(['content-length', String(contentLength)])
  if (Array.isArray(headers))
    for (let at = 0; at + 1 < headers.length; at += 2) read.push([String(headers[at]).toLowerCase(), text(headers[at + 1])])
  // undici 5 keeps them as the text that will be written.
  else if (typeof headers === 'string') read.push(...parse(headers))
  return Object.fromEntries(read)
}

/** One header of an undici request. @param name In lower case. */
export function undiciHeader(request: UndiciRequest, name: string): string | undefined {
  const { headers } = request
  if (!Array.isArray(headers)) return undiciHeaders(request)[name]
  for (let at = headers.length - 2; at >= 0; at -= 2) {
    const given: unknown = headers[at]
    if (String(given).length === name.length && String(given).toLowerCase() === name) return text(headers[at + 1])
  }
  return undefined
}

/** The headers of a `node:http` request. Those given as an array are written at once, and `getHeaders` does not know them. */
export function httpHeaders(request: ClientRequest): SentHeaders {
  const { _header: written } = request as { _header?: unknown }
  const known = Object.entries(request.getHeaders())
  if (known.length === 0 && typeof written === 'string') return Object.fromEntries(parse(written))
  return Object.fromEntries(known.map(([name, value]) => [name, text(value)]))
}

/** One header of a `node:http` request. @param name In lower case. */
export function httpHeader(request: ClientRequest, name: string): string | undefined {
  const value = request.getHeader(name)
  return value === undefined ? httpHeaders(request)[name] : text(value)
}

function parse(head: string): [string, string][] {
  return head.split('\r\n').flatMap(line => {
    const colon = line.indexOf(':')
    return colon > 0 ? [[line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]] : []
  })
}

function text(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : String(value)
}
