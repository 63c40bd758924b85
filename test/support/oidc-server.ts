import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'

/** An OAuth server that is not ours, on loopback. */
export interface OidcServer {
  readonly url: string
  /** Every form that was posted to its token endpoint, in the order in which they came. */
  readonly tokenRequests: readonly URLSearchParams[]
  stop(): Promise<void>
}

/** Starts oidc-provider with rotation and reuse detection, and one client, which has a secret. */
export async function startOidcServer(client: { id: string; secret: string }): Promise<OidcServer> {
  const tokenRequests: URLSearchParams[] = []
  let answer = (_request: IncomingMessage, _response: Parameters<ReturnType<Provider['callback']>>[1]): void => {}
  const server = createServer((request, response) => {
    if (request.url === '/token') hear(request, body => tokenRequests.push(new URLSearchParams(body)))
    answer(request, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { warn, info } = console
  // It says of every default that it is one.
  Object.assign(console, { warn: () => {}, info: () => {} })
  const speakAgain = () => Object.assign(console, { warn, info })
  answer = new Provider(url, {
    clients: [
      {
        client_id: client.id,
        client_secret: client.secret,
        token_endpoint_auth_method: 'client_secret_post',
        application_type: 'native',
        redirect_uris: ['http://127.0.0.1/callback'],
        response_types: ['code'],
        grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      },
    ],
    features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true }, revocation: { enabled: true } },
    rotateRefreshToken: true,
    cookies: { keys: ['for this test alone'] },
  }).callback()
  return {
    url,
    tokenRequests,
    stop: () =>
      new Promise(resolve => {
        speakAgain()
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Hears a body that another caller reads too: without a listener of its own on `data`, which would set it flowing too early. */
function hear(request: IncomingMessage, heard: (body: string) => void): void {
  const chunks: Buffer[] = []
  const push = request.push.bind(request)
  request.push = (chunk, encoding) => {
    if (chunk === null) heard(Buffer.concat(chunks).toString())
    else chunks.push(Buffer.from(chunk))
    return push(chunk, encoding)
  }
}

/** What a browser saw of one page. */
export interface Page {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** A browser without a face: it keeps cookies, follows redirects, and fills forms in as one person. */
export class Browser {
  /** Every page that it came by, redirects included. */
  readonly pages: Page[] = []
  readonly #cookies = new Map<string, string>()
  readonly #fields: Readonly<Record<string, string>>

  constructor(login: string) {
    this.#fields = { login, password: 'not looked at' }
  }

  /** Opens a page and goes on, from form to form, until there is none. */
  async goThrough(url: string): Promise<Page> {
    let page = await this.#open(url)
    for (let forms = 0; forms < 10; forms += 1) {
      const [, form = '', inner = ''] = /<form([^>]*)>([\s\S]*?)<\/form>/.exec(page.text) ?? []
      if (!form) return page
      const action = new URL(/action="([^"]*)"/.exec(form)?.[1] ?? '', page.url).href
      const fields = new URLSearchParams()
      for (const [input] of inner.matchAll(/<input[^>]*>/g)) {
        const name = /name="([^"]*)"/.exec(input)?.[1]
        if (name) fields.set(name, this.#fields[name] ?? /value="([^"]*)"/.exec(input)?.[1] ?? '')
      }
      page = await this.#open(action, { method: 'POST', body: fields })
    }
    throw new Error(`no end of forms at ${page.url}`)
  }

  async #open(url: string, init: { method?: string; body?: URLSearchParams } = {}): Promise<Page> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await fetch(url, { ...init, redirect: 'manual', headers: { cookie } })
    for (const line of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      this.#cookies.set(name, value)
    }
    const page = { url, status: answer.status, headers: answer.headers, text: await answer.text() }
    this.pages.push(page)
    const location = answer.headers.get('location')
    return location === null ? page : this.#open(new URL(location, url).href)
  }
}
