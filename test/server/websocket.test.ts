import { describe, expect, it } from 'vitest'
import { eventually, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { rawConnection, rawRequest } from '../support/raw-request.ts'

// Seen: the real Codex 0.169 with `openai_base_url` tried a WebSocket seven times, logged five errors and took 7.4 s for a
// turn. Why: the upgrade was answered 404, like any unknown path. Fix: 426, after which it goes on by HTTP at once; and the
// 404 below /v1 names the endpoints there are. Issue "1 of 6", point D7.

const KEY = 'a-key-of-this-test-0001'
const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

describe('a WebSocket upgrade', () => {
  it.each(['/v1/responses', '/v1/chat/completions', '/v1/messages'])('at %s is answered 426 with what to do', async path => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const { status, headers, body } = await rawRequest(w.url + path, { headers: UPGRADE })
    expect(status).toBe(426)
    expect(headers).toMatchObject({ upgrade: 'HTTP/1.1', connection: 'upgrade, close' })
    expect(JSON.parse(body.toString()).error.message).toContain('supports_websockets = false')
    expect(w.simulator.counts().providerCalls.total).toBe(0)
    const span = await w.spanned(`GET ${path}`)
    expect(span.status).toBe('unset')
  })

  it('closes its connection, and the client may ask by POST', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const { socket, received, closed } = await rawConnection(w.url)
    socket.write(`GET /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\n${headerLines(UPGRADE)}\r\n`)
    await closed
    expect(received()).toContain('426 Upgrade Required')
    expect((await w.chat()).status).toBe(200)
  })

  it('needs a key where there are keys', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, listen: { keysEnv: 'KEYS' }, environment: { KEYS: KEY } })
    const url = `${w.url}/v1/responses`
    expect((await rawRequest(url, { headers: UPGRADE })).status).toBe(401)
    expect((await rawRequest(url, { headers: { ...UPGRADE, authorization: `Bearer ${KEY}` } })).status).toBe(426)
  })

  it('of another protocol is none: the request is answered as any other', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c' }
    expect((await rawRequest(`${w.url}/v1/models`, { headers })).status).toBe(200)
    expect((await rawRequest(`${w.url}/v1/responses`, { headers })).status).toBe(404)
  })

  it('anywhere else is no way in', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    for (const path of ['/v1/realtime', '/ops/live', '/'])
      expect((await rawRequest(w.url + path, { headers: UPGRADE })).status, path).toBe(404)
    await eventually(async () => expect((await w.chat()).status).toBe(200))
  })
})

describe('a path that is not there', () => {
  const ENDPOINTS =
    'there is no such endpoint; below /v1 there are: POST /v1/responses, POST /v1/chat/completions, POST /v1/messages, GET /v1/models'

  it.each([
    ['GET', '/v1/responses'],
    ['POST', '/v1/embeddings'],
    ['POST', '/v1/models'],
    ['GET', '/v1'],
  ])('%s %s is answered with those there are', async (method, path) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect(await w.ask(path, { method })).toMatchObject({ status: 404, json: { error: { code: 'GW_BAD_REQUEST', message: ENDPOINTS } } })
  })

  it('is answered in the words of Anthropic where Anthropic is spoken', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect(await w.post('/v1/messages/count_tokens', {})).toMatchObject({
      status: 404,
      json: { type: 'error', error: { type: 'invalid_request_error', message: `GW_BAD_REQUEST: ${ENDPOINTS}` } },
    })
  })
})

function headerLines(headers: Record<string, string>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
}
