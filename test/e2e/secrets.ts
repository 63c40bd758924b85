/** A secret and what it is, for the message of the test that finds it. */
export interface Secret {
  readonly what: string
  readonly text: string
}

const jwt = (claims: object, signature: string) =>
  `eyJhbGciOiJSUzI1NiJ9.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`

/** One secret for every place in which one can stand, in the spellings met in the field. Fixed, so that a run can be repeated. */
export const SECRETS = {
  openaiKey: 'sk-proj-Qb7xW2mKfT9zLr4HvN8cYd3JpS6gUe1AaXo5iRtM0wBkZq',
  anthropicKey: 'sk-ant-api03-Vd8kRw3nZx6qPm1bHy5tLc9jFs2gUa7eTo4iXrKvNQ',
  hexKey: 'f3a9c17e5b2d8406e1c7a4f09b3d6e82',
  oddKey: 'k3y!odd_7#x',
  wordKey: 'wobblypenguinmarmalade',
  staticBearer: 'Nq4ZtVw8Lk2XcRy6PbHm9JdSf3GuAe7ToIi5WxKrB1vYzQ0hMn',
  opaqueRefresh: 'uW5cTn8RzKx2LvQj6BhMd9YpFs3GaEe7XoIi1WtHrVkPq4ZyNb',
  uuidRefresh: '7c1e4b9a-52d8-4f36-a0e9-3b8d6c2f1a57',
  jwtAccess: jwt({ sub: 'Fj7KsUeX2mRpWz', jti: 'Lq5VtNc8YbGd3H' }, 'Rw6ZxPk1TnJf9MvBs4QhLy2CgDa8EuOi'),
  authorizationCode: 'ac_Hk6TzWq9RnXb2LvJm5YpDf8GsCe3UaoI',
  codeVerifier: 'yV7rKx3NwQz9LtHb5JcPm2SfGd8UaEe6XoIi1WkRvTnZq4YhBM',
  state: 'sT8mPw4ZkRx6NbQv',
  inboundKey: 'inbound-Gz5WkTq8RnLx3VbH',
  cookie: 'Jx9VnRk4TzLq7WbM',
  customHeader: 'Pd6YtHw2KzRn8XvQ',
  queryKey: 'Bm3QxKv9ZtLr5NwJ',
  urlPassword: 'Wc7RkNz2TqXv5LbH',
  account: 'acct-Ty4NkWz8RxLq',
  email: 'quorvantheskibbles@zymurgyhollow.example',
  clientSecret: 'Cz8LwRk5TnXq2VbJ',
  environment: 'Ev5XtKq9RzLn3WbP',
  collectorKey: 'Oh4ZwTk7RnXq2LvB',
} as const

/** Length of the pieces of a secret that may not be found either. */
const PIECE = 12
/** Number of marks. A text without the mark of a piece is no piece, and is not looked up. */
const MARKS = 2 ** 18

/** Looks for secrets, and for pieces of them, in clear, in base64 of either alphabet at any offset, in hex and URL-encoded. */
class SecretSearch {
  /** Pieces of longer secrets, all of the same length, and what they belong to. */
  readonly #pieces = new Map<string, string>()
  readonly #marks = new Uint8Array(MARKS)
  readonly #short: Secret[] = []

  add({ what, text }: Secret): void {
    for (const spelling of spellings(text)) {
      if (spelling.length < PIECE) this.#short.push({ what, text: spelling })
      else for (let at = 0; at + PIECE <= spelling.length; at += 1) this.#addPiece(what, spelling.slice(at, at + PIECE))
    }
  }

  #addPiece(what: string, piece: string): void {
    this.#pieces.set(piece, what)
    this.#marks[markAt(piece, 0)] = 1
  }

  /** What of the secrets stands in `text`, with what stands around it. */
  find(text: string): string[] {
    const found = new Map<string, string>()
    const note = (what: string, at: number) => {
      if (!found.has(what)) found.set(what, `${what}: …${text.slice(Math.max(0, at - 60), at + 60)}…`)
    }
    for (let at = 0; at + PIECE <= text.length; at += 1) {
      if (this.#marks[markAt(text, at)] === 0) continue
      const what = this.#pieces.get(text.slice(at, at + PIECE))
      if (what !== undefined) note(what, at)
    }
    for (const { what, text: short } of this.#short) {
      const at = text.indexOf(short)
      if (at >= 0) note(what, at)
    }
    return [...found.values()]
  }
}

/** Equal for equal pieces: made of their first character, their last and one between. */
function markAt(text: string, at: number): number {
  return (text.charCodeAt(at) ^ (text.charCodeAt(at + 5) << 6) ^ (text.charCodeAt(at + PIECE - 1) << 11)) % MARKS
}

/** A search that knows all of `SECRETS`. */
export function searchForSecrets(): SecretSearch {
  const search = new SecretSearch()
  for (const [what, text] of Object.entries(SECRETS)) search.add({ what, text })
  return search
}

function spellings(text: string): Set<string> {
  const all = new Set([text, encodeURIComponent(text), JSON.stringify(text).slice(1, -1), Buffer.from(text).toString('hex')])
  for (const before of ['', 'x', 'xx']) {
    const bytes = Buffer.from(`${before}${text}`)
    // The characters at both ends depend on what stands beside the secret.
    for (const encoding of ['base64', 'base64url'] as const) all.add(bytes.toString(encoding).slice(4, -4))
  }
  return new Set([...all].filter(spelling => spelling.length >= 8))
}
