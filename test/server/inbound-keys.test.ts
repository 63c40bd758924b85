import { describe, expect, it } from 'vitest'
import { InboundKeys } from '../../src/server/inbound-keys.ts'
import { gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { rawConnection, rawRequest } from '../support/raw-request.ts'

const KEY = 'gw-key-0123456789-a'
const OTHER_KEY = 'gw-key-0123456789-b'
const BODY = '{"model":"gpt-5.5","messages":[]}'
const OPERATORS = ['/metrics', '/ops/data/status', '/ops/data/counts', '/ops/data/refreshes', '/ops/data/bypasses', '/ops/data/traces/abc']

const withKeys = () =>
  gatewayWorld({ profiles: OPENAI_PROFILE, listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: ` ${KEY}, ${OTHER_KEY},` } })

const ask = (url: string, headers: Record<string, string>, path = '/v1/chat/completions') =>
  rawRequest(
    url + path,
    path.startsWith('/v1/') && path !== '/v1/models'
      ? { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: BODY }
      : { headers },
  )

describe('a gateway with keys', () => {
  it.each([
    ['a Bearer token', { authorization: `Bearer ${KEY}` }],
    ['another of the keys', { authorization: `Bearer ${OTHER_KEY}` }],
    ['x-api-key', { 'x-api-key': KEY }],
    ['a bearer in lower case with more spaces', { authorization: `bearer   ${KEY}` }],
    ['x-api-key beside an authorization of another kind', { authorization: 'Basic eDp5', 'x-api-key': KEY }],
    ['a key under a name that is not loopback', { host: 'gateway.example', 'x-api-key': KEY }],
  ])('lets a client in that shows %s', async (_what, headers) => {
    const w = await withKeys()
    expect((await ask(w.url, headers)).status).toBe(200)
    expect((await ask(w.url, headers, '/v1/models')).status).toBe(200)
  })

  it.each<[string, Record<string, string>]>([
    ['nothing', {}],
    ['a wrong key', { authorization: 'Bearer gw-key-0123456789-c' }],
    ['a wrong x-api-key', { 'x-api-key': 'nope' }],
    ['the beginning of a key', { authorization: `Bearer ${KEY.slice(0, -1)}` }],
    ['a key and more', { authorization: `Bearer ${KEY}x` }],
    ['an empty bearer', { authorization: 'Bearer ' }],
    ['a key without its scheme', { authorization: KEY }],
    ['a key as a password', { authorization: `Basic ${Buffer.from(`x:${KEY}`).toString('base64')}` }],
    ['both keys in one', { 'x-api-key': `${KEY},${OTHER_KEY}` }],
  ])('turns a client away that shows %s, in the words of its language', async (_what, headers) => {
    const w = await withKeys()
    for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/models', '/v1/anything']) {
      const answer = await ask(w.url, headers, path)
      expect(answer.status, path).toBe(401)
      expect(JSON.parse(answer.body.toString()), path).toMatchObject({
        error: { type: 'gatewatch_error', code: 'GW_UNAUTHORIZED', next: 'fix_request' },
      })
    }
    const anthropic = await ask(w.url, headers, '/v1/messages')
    expect(anthropic.status).toBe(401)
    expect(JSON.parse(anthropic.body.toString())).toMatchObject({ type: 'error', error: { type: 'authentication_error' } })
    expect(w.simulator.counts().providerCalls.total).toBe(0)
  })

  it('never repeats what was shown', async () => {
    const w = await withKeys()
    const answer = await ask(w.url, { authorization: 'Bearer canary-0123456789' })
    expect(answer.body.toString()).not.toContain('canary')
    expect(JSON.stringify(w.spans())).not.toContain('canary')
  })

  it('says whether it is well to everybody, and nothing else', async () => {
    const w = await withKeys()
    expect(await ask(w.url, { host: 'gateway.example' }, '/healthz')).toMatchObject({ status: 200, body: Buffer.from('{"status":"ok"}') })
    expect(await ask(w.url, { host: 'gateway.example' }, '/readyz')).toMatchObject({ status: 200, body: Buffer.from('{"status":"ready"}') })
  })
})

describe('the pages of operators', () => {
  // They answered without a key to every request that came over loopback, that is to everybody behind a proxy on the same
  // machine: nginx's default form sends a loopback name and no header of its own. Once there are keys, one is needed (B1).
  it.each(OPERATORS)('%s opens with a key alone where there are keys, over loopback too', async path => {
    const w = await withKeys()
    const { port } = new URL(w.url)
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]) {
      expect((await ask(w.url, { host }, path)).status, host).toBe(401)
      expect((await ask(w.url, { host, 'x-api-key': KEY }, path)).status, host).toBe(200)
    }
    expect((await ask(w.url, { host: 'gateway.example', 'x-api-key': KEY }, path)).status).toBe(200)
  })

  it.each(OPERATORS)('%s opens on loopback by a loopback name where there are no keys', async path => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const { port } = new URL(w.url)
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`])
      expect((await ask(w.url, { host }, path)).status, host).toBe(200)
  })

  it.each(['rebound.example', '127.0.0.1.rebound.example', 'localhost.', 'localhost.rebound.example:80', '0.0.0.0'])(
    'stay closed under the name %j, which a page of another site may have',
    async host => {
      const open = await gatewayWorld({ profiles: OPENAI_PROFILE })
      for (const w of [open, await withKeys()])
        for (const path of OPERATORS) {
          const answer = await ask(w.url, { host, 'x-api-key': 'wrong' }, path)
          expect(answer.status, path).toBe(401)
          expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { code: 'GW_UNAUTHORIZED' } })
        }
    },
  )

  it('stay closed without any name at all', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const { socket, received, closed } = await rawConnection(w.url)
    socket.write('GET /metrics HTTP/1.0\r\n\r\n')
    await closed
    expect(received()).toContain('401 Unauthorized')
  })

  it.each(['/METRICS', '/Ops/data/status', '/ops//data/status', '/ops/data/status/'])(
    'are not reached around the corner by %s',
    async path => {
      const w = await withKeys()
      const answer = await ask(w.url, { host: 'rebound.example' }, path)
      expect(answer.body.toString()).not.toContain('openai:default')
      expect(answer.status).toBeGreaterThanOrEqual(400)
    },
  )
})

describe('a gateway without keys', () => {
  it('serves clients that call it by a loopback name', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const { port } = new URL(w.url)
    expect((await ask(w.url, { host: `localhost:${port}` })).status).toBe(200)
    expect((await ask(w.url, { authorization: 'Bearer whatever the SDK insists on' })).status).toBe(200)
  })

  it('serves a page of its own, and an address that a user opens', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect((await ask(w.url, { origin: w.url, 'sec-fetch-site': 'same-origin' })).status).toBe(200)
    expect((await ask(w.url, { origin: w.url, referer: `${w.url}/ops` })).status).toBe(200)
    expect((await ask(w.url, { 'sec-fetch-site': 'none' }, '/v1/models')).status).toBe(200)
  })

  // A page of another loopback port, and a browser that sends no Sec-Fetch-*, could call providers on the operator's account.
  // `same-site` was let through, and `Origin` was not looked at. Another port is another origin (B2).
  it.each([
    ['under another name (DNS rebinding)', { host: 'rebound.example' }],
    ['from a page of another site', { 'sec-fetch-site': 'cross-site', 'content-type': 'text/plain' }],
    ['from a page of another port of this machine', { 'sec-fetch-site': 'same-site', origin: 'http://127.0.0.1:1' }],
    ['from a foreign page in a browser without Sec-Fetch-*', { origin: 'https://evil.example', 'content-type': 'text/plain' }],
    ['from a page of another port in such a browser', { origin: 'http://localhost:1' }],
    ['from a page that hides its origin', { origin: 'null' }],
    ['from a page that only its referrer names', { referer: 'http://127.0.0.1:1/page' }],
    ['past a proxy that names its client', { 'x-forwarded-for': '203.0.113.7' }],
    ['past a proxy that says so by the standard', { forwarded: 'for=203.0.113.7' }],
    ['past a proxy that names its client', { 'x-real-ip': '203.0.113.7' }],
    ['past a proxy that names itself', { via: '1.1 proxy' }],
    ['past a proxy that only says by what scheme', { 'x-forwarded-proto': 'https' }],
  ])('spends nothing on a call that comes %s', async (_what, headers) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    for (const path of ['/v1/chat/completions', '/v1/models']) {
      const answer = await ask(w.url, headers, path)
      expect(answer.status).toBe(401)
      expect(JSON.parse(answer.body.toString()).error.message).toContain('listen.keysEnv')
    }
    expect(w.simulator.counts().providerCalls.total).toBe(0)
  })

  it.each(OPERATORS)('shows %s to no client past a proxy', async path => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    for (const header of ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'])
      expect((await ask(w.url, { [header]: '203.0.113.7' }, path)).status, header).toBe(401)
  })
})

describe('the keys themselves', () => {
  it('are all compared, wherever the right one stands', () => {
    const keys = new InboundKeys([KEY, OTHER_KEY, KEY])
    expect([KEY, OTHER_KEY].map(key => keys.admits({ headers: { 'x-api-key': key } }))).toEqual([true, true])
    expect(keys.admits({ headers: { 'x-api-key': '' } })).toBe(false)
    expect(new InboundKeys([]).isRequired).toBe(false)
    expect(new InboundKeys([]).admits({ headers: { 'x-api-key': '' } })).toBe(false)
  })
})
