// Behind a reverse proxy on the same machine every operator page, the probe and the token gate answered without a key
// although keys were configured: nginx's default form sends a loopback name and no header of its own, so that such a request
// cannot be distinguished from a local one. Once keys are configured, only health and the sign-in form answer without one;
// without keys nothing answers where a header shows a proxy (issue 1, point B1).
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { isOAuth, type StoredProfile } from '../../src/domain/credential.ts'
import type { Simulator } from '../../src/simulator/simulator.ts'
import { atTheEnd, codexLogin, type GatewayWorldOptions, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { type Nginx, nginxPath, type ProxiedAnswer, type ProxiedRequest, startNginx } from '../support/nginx.ts'

const KEY = 'gw-key-0123456789-a'
const nginx = nginxPath()

/** The form that stands first in every guide, then what administrators add to it, alone and together. */
const FORWARDING: Readonly<Record<string, string>> = {
  'X-Forwarded-For': 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
  'X-Forwarded-Proto': 'proxy_set_header X-Forwarded-Proto $scheme;',
  'X-Forwarded-Host': 'proxy_set_header X-Forwarded-Host $host;',
  'X-Real-IP': 'proxy_set_header X-Real-IP $remote_addr;',
  Forwarded: 'proxy_set_header Forwarded "for=203.0.113.7;proto=https";',
  Via: 'proxy_set_header Via "1.1 nginx";',
  usual: [
    'proxy_set_header Host $host;',
    'proxy_set_header X-Real-IP $remote_addr;',
    'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
    'proxy_set_header X-Forwarded-Proto $scheme;',
  ].join(' '),
}
const DEFAULT_FORM = 'proxy_pass alone'
const DOCS_FORM = 'the one of docs/gateway.md'

function docsForm(url: string): string {
  const [, form = ''] = /```nginx\n([\s\S]*?)```/.exec(readFileSync(new URL('../../docs/gateway.md', import.meta.url), 'utf8')) ?? []
  return form.replaceAll('http://127.0.0.1:8089', url)
}

interface Route extends ProxiedRequest {
  readonly path: string
}

const CALL = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"model":"gpt-5.5"}' }
const DATA = [
  'overview',
  'refreshes',
  'refresh-lines',
  'stacks',
  'speedscope',
  'bypasses',
  'profiles',
  'fallbacks',
  'calls',
  'traces/x',
  'counts',
  'status',
  'findings',
]

/** Every route there is, but for those of the sign-in form and of health. */
const ROUTES: readonly Route[] = [
  { path: '/metrics' },
  { path: '/ops' },
  { path: '/ops/events' },
  { path: '/ops/runbook' },
  { path: '/ops/probe', method: 'POST' },
  { path: '/ops/assets/{build}/main.js' },
  ...DATA.map(name => ({ path: `/ops/data/${name}` })),
  { path: '/v1/models' },
  { path: '/v1/chat/completions', ...CALL },
  { path: '/v1/responses', ...CALL },
  { path: '/v1/messages', ...CALL },
  { path: '/v1/nothing' },
  { path: '/nothing' },
  { path: '/oauth/openai-codex/token' },
  { path: '/ops', method: 'DELETE' },
]

async function proxiedWorld(options: GatewayWorldOptions = {}) {
  const logins: StoredProfile[] = []
  const stored = (simulator: Simulator) => {
    logins.push(codexLogin(simulator, 'me'))
    return logins
  }
  const w = await gatewayWorld({ profiles: OPENAI_PROFILE, stored, ...options })
  const form = (more: string) => `location / { proxy_pass ${w.url}; proxy_buffering off; ${more} }`
  const forms = {
    [DEFAULT_FORM]: form(''),
    [DOCS_FORM]: docsForm(w.url),
    ...Object.fromEntries(Object.entries(FORWARDING).map(([name, more]) => [name, form(more)])),
  }
  const proxy: Nginx = await startNginx(nginx ?? '', forms)
  atTheEnd(() => proxy.stop())
  const ask = (form: string, { path, ...route }: Route, headers: Record<string, string> = {}): Promise<ProxiedAnswer> =>
    proxy.ask(form, path, { ...route, headers: { ...route.headers, ...headers } })
  const [credential] = logins.map(profile => profile.credential)
  const refreshToken = credential && isOAuth(credential) ? (credential.refresh ?? '') : ''
  const tokenRequest = (form: string, suffix = '', headers: Record<string, string> = {}) => {
    const body = JSON.stringify({ grant_type: 'refresh_token', refresh_token: refreshToken })
    return proxy.ask(form, `/oauth/openai-codex/token${suffix}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
  }
  const nothingLeft = () => expect(w.simulator.counts()).toMatchObject({ providerCalls: { total: 0 }, tokenRequests: { total: 0 } })
  return { ...w, ask, tokenRequest, nothingLeft }
}

const withKeys = () => proxiedWorld({ listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: KEY } })
const FORMS = [DEFAULT_FORM, DOCS_FORM, ...Object.keys(FORWARDING)]

/** The address of an asset, as the sign-in form names its own. */
function inBuild(route: Route, build: string): Route {
  return { ...route, path: route.path.replace('{build}', build) }
}

describe.runIf(nginx)('a gateway with keys behind a real nginx', () => {
  it.each(FORMS)('answers no route without a key, and every route with one: %s', async form => {
    const w = await withKeys()
    const signIn = await w.ask(form, { path: '/ops' }, { accept: 'text/html' })
    expect(signIn).toMatchObject({ status: 401, text: expect.stringContaining('action="/ops/sign-in"') })
    const build = /\/ops\/assets\/([\w-]+)\/page\.css/.exec(signIn.text)?.[1] ?? ''
    for (const route of ROUTES.map(each => inBuild(each, build))) {
      for (const headers of [{}, { 'x-api-key': `${KEY}x` }, { cookie: 'gatewatch_ops=x' }])
        expect((await w.ask(form, route, headers)).status, `${route.path} ${JSON.stringify(headers)}`).toBe(401)
    }
    for (const tried of [
      await w.tokenRequest(form),
      await w.tokenRequest(form, `/${KEY}x`),
      await w.tokenRequest(form, '', { 'x-api-key': 'x' }),
    ])
      expect(tried.status).toBe(401)
    w.nothingLeft()
    for (const route of ROUTES.map(each => inBuild(each, build))) {
      // What it answers is another test's business: here, that it is let through.
      const { status, text } = await w.ask(form, route, { 'x-api-key': KEY })
      expect([401, 403], `${route.path}: ${text.slice(0, 200)}`).not.toContain(status)
    }
    expect((await w.tokenRequest(form, `/${KEY}`)).status).toBe(200)
    expect((await w.tokenRequest(form, '', { authorization: `Bearer ${KEY}` })).status).toBe(200)
  })

  it.each(FORMS)('says whether it is well, and lets an operator sign in with a key: %s', async form => {
    const w = await withKeys()
    for (const path of ['/healthz', '/readyz']) {
      const { status, text } = await w.ask(form, { path })
      expect(status).toBe(200)
      expect(text).not.toMatch(/openai|default|:me/)
    }
    const page = (await w.ask(form, { path: '/ops' }, { accept: 'text/html' })).text
    const parts = [...page.matchAll(/(?:href|src)="(\/[^"]+)"/g)].map(([, path = '']) => path)
    expect(parts.map(path => path.split('/').at(-1))).toEqual(['page.css', 'sign-in.js'])
    for (const path of parts) expect((await w.ask(form, { path })).status).toBe(200)
    const signIn = { path: '/ops/sign-in', method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
    expect((await w.ask(form, { ...signIn, body: `key=${KEY}x` })).status).toBe(401)
    const { status, headers } = await w.ask(form, { ...signIn, body: `key=${KEY}` })
    expect(status).toBe(303)
    const [cookie = ''] = headers['set-cookie']?.[0]?.split(';') ?? []
    expect((await w.ask(form, { path: '/ops/data/overview' }, { cookie })).status).toBe(200)
    expect((await w.ask(form, { path: '/v1/models' }, { cookie })).status).toBe(401)
  })
})

it.runIf(nginx)('a browser signs in through the form of docs/gateway.md', async () => {
  const w = await withKeys()
  const { status } = await w.ask(
    DOCS_FORM,
    { path: '/ops/sign-in', method: 'POST', body: `key=${KEY}` },
    { host: 'gateway.example:8443', origin: 'https://gateway.example:8443', 'content-type': 'application/x-www-form-urlencoded' },
  )
  expect(status).toBe(303)
})

describe.runIf(nginx)('a gateway without keys behind a real nginx', () => {
  it.each([DOCS_FORM, ...Object.keys(FORWARDING)])('answers no route where nginx says that it passes a request on: %s', async form => {
    const w = await proxiedWorld()
    const build = /\/ops\/assets\/([\w-]+)\//.exec((await w.ask(DEFAULT_FORM, { path: '/ops' })).text)?.[1] ?? ''
    for (const route of ROUTES.map(each => inBuild(each, build))) expect((await w.ask(form, route)).status, route.path).toBe(401)
    expect((await w.tokenRequest(form)).status).toBe(401)
    expect((await w.ask(form, { path: '/readyz' })).status).toBe(200)
    w.nothingLeft()
  })
})
