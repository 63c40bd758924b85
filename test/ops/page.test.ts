import { describe, expect, it } from 'vitest'
import { pageAssets } from '../../src/ops/page-assets.ts'
import { gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { rawAnswer, rawRequest } from '../support/raw-request.ts'

const KEY = 'gw-key-0123456789-a'
const MOST_BYTES = 150_000
const ELSEWHERE = { host: 'gateway.example' }

const open = () => gatewayWorld({ profiles: OPENAI_PROFILE })
const keyed = () => gatewayWorld({ profiles: OPENAI_PROFILE, listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: KEY } })

/** Addresses of everything the page loads, when it begins and later. */
async function parts(url: string): Promise<string[]> {
  const page = (await rawRequest(`${url}/ops`)).body.toString()
  const base = /ops\/assets\/[\w-]+/.exec(page)?.[0]
  return (await pageAssets())
    .names()
    .filter(name => !name.endsWith('.html'))
    .map(name => `${url}/${base}/${name}`)
}

async function signIn(url: string, headers: Record<string, string>, key = KEY) {
  const body = new URLSearchParams({ key }).toString()
  return rawRequest(`${url}/ops/sign-in`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body,
  })
}

describe('the ops page', () => {
  it('weighs less than 150 kB compressed with everything it may ever load', async () => {
    const { url } = await open()
    let bytes = 0
    for (const part of [`${url}/ops`, ...(await parts(url))]) {
      const { status, headers, body } = await rawRequest(part, { headers: { 'accept-encoding': 'gzip' } })
      expect([status, headers['content-encoding']]).toEqual([200, 'gzip'])
      bytes += body.length
    }
    expect(bytes).toBeLessThan(MOST_BYTES)
    expect(bytes).toBeGreaterThan(50_000)
  })

  it('lets nothing be loaded from elsewhere, run inline, framed, or guessed', async () => {
    const { url } = await open()
    for (const part of [`${url}/ops`, `${url}/ops/data/overview`, ...(await parts(url))]) {
      const { headers } = await rawRequest(part)
      expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/)
      expect(headers['content-security-policy']).not.toMatch(/unsafe|https?:|\*/)
      expect(headers['x-content-type-options']).toBe('nosniff')
    }
    expect((await rawRequest(`${url}/ops`)).body.toString()).not.toMatch(/<script>|style=|https?:\/\/|\son\w+=/)
  })

  it('is fetched once: its parts never change at their address, and the page itself is asked for by its tag', async () => {
    const { url } = await open()
    const [first = ''] = await parts(url)
    expect((await rawRequest(first)).headers['cache-control']).toContain('immutable')
    const { headers } = await rawRequest(`${url}/ops`)
    expect(headers['cache-control']).toBe('no-cache')
    expect((await rawRequest(`${url}/ops`, { headers: { 'if-none-match': String(headers.etag) } })).status).toBe(304)
    expect((await rawRequest(first.replace(/assets\/[\w-]+/, 'assets/another'))).status).toBe(404)
  })

  it.each(['/ops/assets/x/..%2f..%2fpackage.json', '/ops/assets/x/page.html', '/ops/assets/x/__proto__', '/ops/assets/%ff/x'])(
    'has no file at %s',
    async path => {
      const { url } = await open()
      expect([400, 404]).toContain((await rawRequest(url + path)).status)
    },
  )

  it('notifies open pages of what happens, and lets go of them when the gateway stops', async () => {
    const w = await open()
    const events = await rawAnswer(`${w.url}/ops/events`)
    expect(events.headers['content-type']).toBe('text/event-stream')
    let text = ''
    const over = new Promise(resolve => events.on('end', resolve))
    const changed = new Promise<void>(resolve => {
      events.on('data', chunk => {
        text += String(chunk)
        if (text.split('event: changed').length > 2) resolve()
      })
    })
    await w.chat()
    await changed
    await w.serving.stop()
    await over
    expect(text).toContain('retry: ')
  })

  it('does not count its own questions', async () => {
    const w = await open()
    const before = (await w.ask('/ops/data/overview')).json.events
    for (const path of ['/ops', '/ops/data/calls', '/ops/data/findings']) await w.ask(path)
    expect((await w.ask('/ops/data/overview')).json.events).toBe(before)
  })
})

describe('who may see the ops page', () => {
  it.each(['/ops', '/ops/data/overview', '/ops/events', '/ops/data/findings', '/ops/data/traces/x'])(
    'is a caller that comes from loopback, by a loopback name, or shows a key: %s',
    async path => {
      const without = await open()
      expect((await rawRequest(without.url + path, { headers: ELSEWHERE })).status).toBe(401)
      const withKeys = await keyed()
      expect((await rawRequest(withKeys.url + path, { headers: { ...ELSEWHERE, accept: 'application/json' } })).status).toBe(401)
      const answer = await rawAnswer(withKeys.url + path, { headers: { ...ELSEWHERE, 'x-api-key': KEY } })
      expect(answer.statusCode).toBe(200)
      answer.destroy()
    },
  )

  it('is asked for a key in the browser, and gets a cookie that only the page may send', async () => {
    const { url } = await keyed()
    const asked = await rawRequest(`${url}/ops`, { headers: { ...ELSEWHERE, accept: 'text/html' } })
    expect([asked.status, asked.body.toString()]).toEqual([401, expect.stringContaining('action="/ops/sign-in"')])
    const { status, headers } = await signIn(url, { ...ELSEWHERE, origin: 'http://gateway.example', 'sec-fetch-site': 'same-origin' })
    expect([status, headers.location]).toEqual([303, '/ops'])
    const [cookie = ''] = headers['set-cookie'] ?? []
    expect(cookie).toMatch(/^gatewatch_ops=[\w-]{43}; Path=\/ops; HttpOnly; SameSite=Strict; Max-Age=\d+$/)
    expect(cookie).not.toContain(KEY)
    const [shown = ''] = cookie.split(';')
    expect((await rawRequest(`${url}/ops/data/overview`, { headers: { ...ELSEWHERE, cookie: shown } })).status).toBe(200)
    expect((await rawRequest(`${url}/ops/data/overview`, { headers: { ...ELSEWHERE, cookie: `${shown}x` } })).status).toBe(401)
    expect((await rawRequest(`${url}/metrics`, { headers: { ...ELSEWHERE, cookie: 'gatewatch_ops=' } })).status).toBe(401)
  })

  it('marks the cookie for TLS where the browser came by it', async () => {
    const { url } = await keyed()
    const { headers } = await signIn(url, { ...ELSEWHERE, origin: 'https://gateway.example' })
    expect(headers['set-cookie']?.[0]).toMatch(/; Secure$/)
  })

  it.each<[string, Record<string, string>, string]>([
    ['a wrong key', {}, 'gw-key-0123456789-b'],
    ['no key', {}, ''],
    ['a key from a page of another site', { 'sec-fetch-site': 'cross-site' }, KEY],
    ['a key from another origin', { origin: 'https://evil.example' }, KEY],
  ])('gets no cookie for %s', async (_what, headers, key) => {
    const { url } = await keyed()
    const answer = await signIn(url, { ...ELSEWHERE, ...headers }, key)
    expect([401, 403]).toContain(answer.status)
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(answer.body.toString()).not.toContain(KEY)
  })

  it('says on the page that a key was none, and not before one was shown', async () => {
    const { url } = await keyed()
    const refused = (await signIn(url, ELSEWHERE, 'gw-key-0123456789-b')).body.toString()
    const asked = (await rawRequest(`${url}/ops`, { headers: { ...ELSEWHERE, accept: 'text/html' } })).body.toString()
    expect(refused).toContain(`role="alert">That is none of the gateway's keys.</p>`)
    expect(asked).not.toContain('role="alert"')
    expect([refused, asked].join()).not.toContain('{{')
  })

  it('gets no cookie where no keys are', async () => {
    const { url } = await open()
    expect((await signIn(url, {})).status).toBe(401)
  })
})
