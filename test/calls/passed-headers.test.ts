import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, it } from 'vitest'
import type { Served } from '../../src/calls/call-request.ts'
import { returnedHeaders, sentHeaders, servedHeaders } from '../../src/calls/passed-headers.ts'
import { codexLogin, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE, providerOf } from '../support/gateway-world.ts'
import { rawRequest } from '../support/raw-request.ts'

const SERVED: Served = {
  provider: 'openai',
  profile: 'openai:default',
  billing: 'metered',
  attempts: 1,
  fallbacks: [],
  traceId: 'a'.repeat(32),
}

/** Everything a client, a proxy or an attacker may add to a request. */
const EVERYTHING = {
  host: 'gateway.example',
  connection: 'keep-alive, x-private-hop',
  'x-private-hop': 'canary',
  'keep-alive': 'timeout=5',
  'proxy-authorization': 'Basic canary',
  'proxy-connection': 'keep-alive',
  te: 'trailers',
  authorization: 'Bearer canary',
  'x-api-key': 'canary',
  'api-key': 'canary',
  'x-goog-api-key': 'canary',
  'x-auth-token': 'canary',
  cookie: 'session=canary',
  'chatgpt-account-id': 'canary',
  'openai-organization': 'org-canary',
  'openai-project': 'proj-canary',
  'accept-encoding': 'gzip, br',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  tracestate: 'canary=1',
  baggage: 'canary=1',
  forwarded: 'for=canary',
  'x-forwarded-for': '10.9.8.7',
  'x-forwarded-host': 'canary',
  'x-real-ip': '10.9.8.7',
  'x-gatewatch-caller': 'canary',
  'sec-fetch-mode': 'cors',
  'cf-connecting-ip': '10.9.8.7',
  origin: 'http://canary.localhost',
  referer: 'http://canary.localhost/',
} as const

const WANTED = {
  'content-type': 'application/json',
  accept: 'text/event-stream',
  'user-agent': 'openai/JS 7',
  'openai-beta': 'assistants=v2',
  'anthropic-beta': 'context-1m',
  'x-stainless-lang': 'js',
  'idempotency-key': 'k-1',
  session_id: 's-1',
}

describe('headers on their way to the provider', () => {
  it('are what the request means, and nothing of the client or its connection', () => {
    expect(sentHeaders({ ...EVERYTHING, ...WANTED })).toEqual(WANTED)
  })

  it('reach it exactly so, with our credential instead of the client’s', async () => {
    let seen: IncomingHttpHeaders = {}
    const baseUrl = await providerOf((request, response) => {
      seen = request.headers
      response.end('{}')
    })
    const w = await gatewayWorld({
      profiles: OPENAI_PROFILE,
      providers: { openai: { baseUrl } },
      listen: { keysEnv: 'KEYS' },
      environment: { KEYS: 'canary-key-of-the-gateway' },
    })
    const body = '{"model":"gpt-5.5"}'
    const headers = { ...EVERYTHING, ...WANTED, authorization: 'Bearer canary-key-of-the-gateway', 'content-length': body.length }
    const answer = await rawRequest(`${w.url}/v1/responses`, { method: 'POST', headers, body })
    expect(answer.status).toBe(200)
    const { host, connection, 'content-length': length, ...sent } = seen
    expect(sent).toEqual({ ...WANTED, authorization: `Bearer ${OPENAI_KEY}` })
    expect({ host, length, connection }).toEqual({ host: new URL(baseUrl).host, length: String(body.length), connection: 'keep-alive' })
    expect(JSON.stringify(seen)).not.toContain('canary')
  })

  it('name the account of the profile, never that of the client', async () => {
    let seen: IncomingHttpHeaders = {}
    const baseUrl = await providerOf((request, response) => {
      seen = request.headers
      response.end('{}')
    })
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me')], providers: { 'openai-codex': { baseUrl } } })
    await w.responses({}, { 'chatgpt-account-id': 'canary' })
    expect(seen['chatgpt-account-id']).toBe('me')
  })
})

describe('headers on their way back', () => {
  it('are the provider’s, without its cookies and its connection, and ours', () => {
    const returned = returnedHeaders(
      {
        'content-type': 'text/event-stream',
        'x-request-id': 'req_1',
        'x-ratelimit-remaining-requests': '9',
        'openai-processing-ms': '12',
        'retry-after': '1',
        link: ['<a>', '<b>'],
        'set-cookie': ['__cf_bm=canary'],
        connection: 'close, X-Hop',
        'x-hop': 'canary',
        'keep-alive': 'timeout=5',
        'transfer-encoding': 'chunked',
        trailer: 'x',
        'alt-svc': 'h3',
        'strict-transport-security': 'max-age=1',
        'proxy-authenticate': 'Basic',
        'x-gatewatch-fallback': 'canary',
        'x-gatewatch-billing-changed': 'canary',
        'x-gatewatch-profile': 'canary',
        // A page of any origin could read what the gateway answers, if the provider's word counted for it (B2).
        'access-control-allow-origin': '*',
        'access-control-allow-credentials': 'true',
        'access-control-expose-headers': 'x-request-id',
        'cross-origin-resource-policy': 'cross-origin',
        'timing-allow-origin': '*',
        'clear-site-data': '"*"',
        'report-to': '{}',
        nel: '{}',
        'x-undefined': undefined,
      },
      SERVED,
    )
    expect(returned).toEqual({
      'content-type': 'text/event-stream',
      'x-request-id': 'req_1',
      'x-ratelimit-remaining-requests': '9',
      'openai-processing-ms': '12',
      'retry-after': '1',
      link: ['<a>', '<b>'],
      'x-gatewatch-provider': 'openai',
      'x-gatewatch-profile': 'openai:default',
      'x-gatewatch-billing': 'metered',
      'x-gatewatch-attempts': '1',
      'x-gatewatch-trace': SERVED.traceId,
    })
  })

  it('reach the client so, the id of the provider’s request among them', async () => {
    const baseUrl = await providerOf((_request, response) => {
      response.writeHead(200, {
        'set-cookie': 'a=canary',
        'access-control-allow-origin': 'http://canary.localhost',
        'x-request-id': 'req_0123456789',
        'x-gatewatch-fallback': 'canary',
      })
      response.end('{}')
    })
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl } } })
    const { headers } = await w.chat()
    expect(headers.get('x-request-id')).toBe('req_0123456789')
    expect([...headers.values()].join()).not.toContain('canary')
    expect((await w.spanned('chat gpt-5.5')).attributes['gatewatch.provider.request_id']).toBe('req_0123456789')
  })

  it('say how the call got where it was served', () => {
    const fallbacks = [
      { from: 'a:1', to: 'b:2', reason: 'rate_limit' },
      { from: 'b:2', to: 'c:3', reason: 'needs_login' },
    ]
    expect(servedHeaders({ ...SERVED, attempts: 3, fallbacks, billingInsteadOf: 'subscription' })).toMatchObject({
      'x-gatewatch-attempts': '3',
      'x-gatewatch-fallback': 'a:1 -> b:2; reason=rate_limit, b:2 -> c:3; reason=needs_login',
      'x-gatewatch-billing-changed': 'subscription -> metered',
    })
  })
})
