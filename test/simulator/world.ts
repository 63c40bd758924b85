import { type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { afterwards } from '../support/clean-up.ts'

/** An answer, read whole. */
export interface Read {
  status: number
  headers: Headers
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: bodies of five dialects are looked into field by field
  json: any
}

/** A simulator with a way to ask it; it is stopped after the test. */
export async function world(options: SimulatorOptions = {}) {
  const simulator = await startSimulator(options)
  afterwards(() => simulator.stop())

  const post = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Read> =>
    read(await fetch(simulator.url + path, { method: 'POST', ...encoded(body, headers) }))
  const get = async (path: string, headers: Record<string, string> = {}): Promise<Read> =>
    read(await fetch(simulator.url + path, { headers }))

  /** A refresh as a form, to the endpoint of the given dialect. */
  const refresh = (token: string, dialect: keyof typeof TOKEN_PATHS = 'openai', headers: Record<string, string> = {}) => {
    const fields = { grant_type: 'refresh_token', refresh_token: token, client_id: 'app_test' }
    return post(TOKEN_PATHS[dialect], dialect === 'anthropic' ? fields : new URLSearchParams(fields), headers)
  }
  const codex = (access: string, account: string, body: object = {}) =>
    post(
      '/backend-api/codex/responses',
      { model: 'gpt-5.5', input: 'hello', store: false, ...body },
      { authorization: `Bearer ${access}`, 'chatgpt-account-id': account },
    )
  const chat = (key: string, body: object = {}) =>
    post(
      '/v1/chat/completions',
      { model: 'gpt-5.5', messages: [{ role: 'user', content: 'hello' }], ...body },
      { authorization: `Bearer ${key}` },
    )
  return { simulator, post, get, refresh, codex, chat }
}

/** The payload of a JWT. */
export function claimsOf(jwt: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString())
}

function encoded(body: unknown, headers: Record<string, string>) {
  if (body instanceof URLSearchParams) return { body, headers }
  return { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } }
}

async function read(response: Response): Promise<Read> {
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, json: parse(text) }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
