/** A response as it came, whole. Where it is that of a token endpoint it holds tokens: it stays in memory and is never recorded. */
export interface BufferedResponse {
  readonly status: number
  readonly statusText: string
  /** Names and values, in the order in which they came; a name may come again. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Buffer
}

/** The headers by their names in lower case; those that came several times are joined. */
export function headersOf({ headers }: BufferedResponse): Record<string, string> {
  // No object is a table: a header may be called `constructor`.
  const table = new Map<string, string>()
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    const before = table.get(key)
    table.set(key, before === undefined ? value : `${before}, ${value}`)
  }
  return Object.fromEntries(table)
}
