// A provider's refusal (302, 400) that handed back the key it was called with reached the client with it, in Location, in the
// body or in any header. What comes back is looked through: good answers as they stream, refusals as a whole (issue 1, B5).
import type { IncomingMessage, ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { codexLogin, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE, providerOf } from '../support/gateway-world.ts'
import { rawRequest } from '../support/raw-request.ts'

const ODD_KEY = 'k3y/odd+7#x=Qb7xW2mKfT9z"'
const BODY = '{"model":"gpt-5.5","messages":[],"input":"x","store":false}'

/** A gateway whose provider answers by what it was sent. */
async function echoing(answer: (secret: string, response: ServerResponse, request: IncomingMessage) => void, key = OPENAI_KEY) {
  const baseUrl = await providerOf((request, response) => {
    request.resume()
    answer(String(request.headers.authorization).replace('Bearer ', ''), response, request)
  })
  return gatewayWorld({
    profiles: OPENAI_PROFILE,
    providers: { openai: { baseUrl } },
    environment: { OPENAI_KEY: key },
  })
}

const ask = (url: string, path = '/v1/chat/completions') =>
  rawRequest(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: BODY })

/** Everything a client gets, as one text. */
const all = ({ headers, body }: Awaited<ReturnType<typeof ask>>) => `${JSON.stringify(headers)}\n${body.toString()}`

describe.each([
  ['a key', OPENAI_KEY],
  ['a key with characters that are escaped', ODD_KEY],
  ['a key that is a word', 'not-needed'],
])('%s that the provider hands back', (_what, key) => {
  const forms = [key, encodeURIComponent(key), JSON.stringify(key).slice(1, -1), JSON.stringify(key).slice(1, -1).replaceAll('/', '\\/')]
  const expectNone = (text: string) => {
    for (const form of forms) expect(text.replaceAll('\\"', '"')).not.toContain(form.replaceAll('\\"', '"'))
  }

  it('in a redirect does not reach the client', async () => {
    const w = await echoing((secret, response) => {
      const location = `https://login.example/?token=${encodeURIComponent(secret)}&raw=${secret}`
      response.writeHead(302, { location, 'x-debug-authorization': `Bearer ${secret}`, 'x-list': ['a', secret] }).end(`moved ${secret}`)
    }, key)
    const answer = await ask(w.url)
    expect(answer.status).toBe(302)
    expect(answer.headers.location).toContain('https://login.example/?token=[credential]')
    expectNone(all(answer))
  })

  it.each([
    ['in JSON', (secret: string) => JSON.stringify({ error: { message: `bad key ${secret}`, code: secret, sent: { key: secret } } })],
    ['in JSON with escaped slashes', (secret: string) => JSON.stringify({ error: { message: secret } }).replaceAll('/', '\\/')],
    ['in HTML', (secret: string) => `<html><body>${secret.replaceAll('"', '&quot;')}</body></html>`],
    ['in an address', (secret: string) => `see https://x.example/?key=${encodeURIComponent(secret)}`],
  ])('in a 400 does not reach the client: %s', async (_how, write) => {
    for (const compress of [false, true]) {
      const w = await echoing((secret, response) => {
        const text = Buffer.from(write(secret))
        const body = compress ? gzipSync(text) : text
        response.writeHead(400, { 'content-length': body.length, ...(compress && { 'content-encoding': 'gzip' }) }).end(body)
      }, key)
      const answer = await ask(w.url)
      expect(answer.status).toBe(400)
      expect(answer.headers['content-encoding']).toBeUndefined()
      expect(answer.body.toString()).toContain('[credential]')
      expectNone(all(answer))
    }
  })
})

describe('a refusal', () => {
  it('without a secret passes byte for byte, compressed or not', async () => {
    const text = '{"error":{"message":"caf\u00e9","param":null}}'
    for (const body of [Buffer.from(text), gzipSync(text)]) {
      const encoding = body.toString() === text ? {} : { 'content-encoding': 'gzip' }
      const w = await echoing((_secret, response) => response.writeHead(422, { ...encoding, 'x-request-id': 'req_1' }).end(body))
      const answer = await ask(w.url)
      expect(answer.body.equals(body)).toBe(true)
      expect(answer.headers).toMatchObject({ ...encoding, 'x-request-id': 'req_1', 'content-length': String(body.length) })
    }
  })

  it('that cannot be read is passed on without its body', async () => {
    const w = await echoing((_secret, response) => response.writeHead(400, { 'content-encoding': 'rot13' }).end('fx-fvzhyngrq'))
    const answer = await ask(w.url)
    expect([answer.status, answer.body.toString(), answer.headers['content-encoding']]).toEqual([400, '', undefined])
  })

  it('hands back neither the access token of a login, nor a key of another profile', async () => {
    let token = ''
    const baseUrl = await providerOf((request, response) => {
      request.resume()
      token = String(request.headers.authorization).replace('Bearer ', '')
      response.writeHead(400, { 'x-token': token }).end(JSON.stringify({ detail: `${token} and ${OPENAI_KEY} and ${token.slice(0, -9)}` }))
    })
    const w = await gatewayWorld({
      stored: simulator => [codexLogin(simulator, 'me')],
      profiles: OPENAI_PROFILE,
      providers: { 'openai-codex': { baseUrl } },
      order: ['openai-codex:me'],
    })
    const answer = await ask(w.url, '/v1/responses')
    expect(token.length).toBeGreaterThan(100)
    expect([answer.status, JSON.parse(answer.body.toString()).detail]).toEqual([400, '[credential] and [credential] and [credential]'])
    expect(all(answer)).not.toContain(token.slice(0, 40))
  })

  it('handed to code holds none either', async () => {
    const w = await echoing((secret, response) => response.writeHead(400, { 'x-echo': secret }).end(`no ${secret}`))
    const { status, headers, body } = await w.watch.call({ protocol: 'chat_completions', model: 'gpt-5.5', body: {} })
    const text = (await body.toArray()).join('')
    expect([status, text, headers['x-echo'], headers['content-length']]).toEqual([400, 'no [credential]', '[credential]', undefined])
  })
})

describe('a good answer', () => {
  it('that hands back the key in pieces of its stream reaches the client without, in the length it announced', async () => {
    const text = (secret: string) => `data: {"headers":{"authorization":"Bearer ${secret}"}}\n\ndata: [DONE]\n\n`
    const w = await echoing(async (secret, response) => {
      const body = Buffer.from(text(secret))
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': body.length, 'x-debug': secret })
      for (let at = 0; at < body.length; at += 7) {
        response.write(body.subarray(at, at + 7))
        await new Promise(resolve => setImmediate(resolve))
      }
      response.end()
    })
    const answer = await ask(w.url)
    expect(answer.body.toString()).toBe(text('*'.repeat(OPENAI_KEY.length)))
    expect(answer.headers['x-debug']).toBe('[credential]')
    expect(all(answer)).not.toContain(OPENAI_KEY)
  })
})
