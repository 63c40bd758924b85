import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { ATTR_PROTOCOL, SPAN_CALL } from '../../otel/semconv.ts'
import {
  ANTHROPIC_PROFILE,
  codexLogin,
  gatewayWorld,
  login,
  OPENAI_KEY,
  OPENAI_PROFILE,
  providerOf,
  storedKey,
} from '../support/gateway-world.ts'

const CHAT = '/v1/chat/completions'
const ENDPOINTS = [CHAT, '/v1/responses', '/v1/messages']

/** A gateway whose provider keeps the last request's body. */
async function echoing() {
  const seen: { path?: string | undefined; body?: string } = {}
  const baseUrl = await providerOf(async (request, response) => {
    const parts = await request.toArray()
    seen.path = request.url
    seen.body = Buffer.concat(parts).toString()
    response.end('{}')
  })
  const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl } } })
  return { ...w, seen }
}

describe('an endpoint', () => {
  it.each([
    [CHAT, { model: 'gpt-5.5', messages: [{ role: 'user', content: 'hi' }] }, '/v1/chat/completions', 'chat_completions'],
    ['/v1/responses', { model: 'gpt-5.5', input: 'hi' }, '/v1/responses', 'responses'],
    [
      '/v1/messages',
      { model: 'claude-sonnet-5', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] },
      '/anthropic/v1/messages',
      'messages',
    ],
  ])('%s reaches the provider that speaks it', async (path, body, upstreamPath, protocol) => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, ...ANTHROPIC_PROFILE } })
    expect((await w.post(path, body)).status).toBe(200)
    expect(w.simulator.counts().providerCalls.byPath).toEqual({ [upstreamPath]: { 200: 1 } })
    expect((await w.spanned(SPAN_CALL)).attributes[ATTR_PROTOCOL]).toBe(protocol)
  })

  it('/v1/messages goes through a login as well, with the beta that takes its token', async () => {
    const w = await gatewayWorld({
      stored: simulator => [login(simulator, { provider: 'anthropic', account: 'me', firstAccessLifeMs: -1 })],
    })
    const answer = await w.post('/v1/messages', { model: 'claude-sonnet-5', max_tokens: 9, messages: [] })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-gatewatch-billing')).toBe('subscription')
    expect(w.simulator.tokenRequests()).toMatchObject([{ path: '/anthropic/v1/oauth/token', encoding: 'json', outcome: 'rotated' }])
  })

  it('/v1/models lists what the provider offers, with the query of the request', async () => {
    const w = await echoing()
    await w.ask('/v1/models?limit=5&after=%20x')
    expect(w.seen.path).toBe('/models?limit=5&after=%20x')
    const real = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, ...ANTHROPIC_PROFILE } })
    expect((await real.ask('/v1/models')).json).toMatchObject({ object: 'list', data: [{ id: 'gpt-5.5', object: 'model' }, {}, {}] })
    expect(await real.spanned('list_models')).toMatchObject({ kind: 'client', status: 'unset' })
  })

  it('/v1/models asks Anthropic when the client speaks its language', async () => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, ...ANTHROPIC_PROFILE } })
    const answer = await w.ask('/v1/models', { headers: { 'anthropic-version': '2023-06-01' } })
    expect(answer.json).toMatchObject({ has_more: false, data: [{ type: 'model' }, {}, {}] })
  })

  it.each([
    ['GET', CHAT],
    ['POST', '/v1/models'],
    ['POST', '/v1/embeddings'],
    ['DELETE', '/v1/responses'],
    ['GET', '/'],
    ['GET', '/v1/chat/completions/extra'],
  ])('does not exist at %s %s: 404', async (method, path) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const answer = await w.ask(path, { method })
    expect(answer.status).toBe(404)
    expect(answer.json).toMatchObject({ error: { type: 'gatewatch_error', code: 'GW_BAD_REQUEST', next: 'fix_request' } })
    expect(await w.spanned(`${method} unmatched`)).toMatchObject({ kind: 'server', status: 'unset' })
    expect(await w.labels('serverDuration')).toEqual([
      { http_request_method: method, http_route: 'unmatched', http_response_status_code: '404' },
    ])
  })
})

describe('a model that names its provider', () => {
  it('is asked there, without the name', async () => {
    const w = await echoing()
    const answer = await w.post(CHAT, '{ "messages":[] ,"model":"openai/gpt-5.5","x":1.50}')
    expect(answer.status).toBe(200)
    expect(w.seen.body).toBe('{ "messages":[] ,"model":"gpt-5.5","x":1.50}')
    expect(await w.spanned('chat gpt-5.5')).toBeDefined()
  })

  it('is asked nowhere else', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me')], profiles: OPENAI_PROFILE })
    expect((await w.responses({ model: 'openai/gpt-5.5' })).headers.get('x-gatewatch-provider')).toBe('openai')
    expect((await w.responses({ model: 'openai-codex/gpt-5.5' })).headers.get('x-gatewatch-provider')).toBe('openai-codex')
    w.simulator.inject({ where: '/v1/responses', name: 'server_error_500' })
    const answer = await w.responses({ model: 'openai/gpt-5.5' })
    expect(answer.status).toBe(500)
    expect(answer.headers.has('x-gatewatch-fallback')).toBe(false)
  })

  it.each(['meta-llama/llama-4', '/gpt-5.5', 'unknown/gpt-5.5', 'openaix/gpt'])(
    'is left alone when what stands before the slash is no provider: %s',
    async model => {
      const w = await echoing()
      const body = JSON.stringify({ model, messages: [] })
      await w.post(CHAT, body)
      expect(w.seen.body).toBe(body)
    },
  )

  it('keeps its own slashes behind that of the provider', async () => {
    const baseUrl = await providerOf(async (request, response) => {
      response.end(Buffer.concat(await request.toArray()))
    })
    const w = await gatewayWorld({ stored: () => [storedKey('router:me', OPENAI_KEY)], providers: { router: { baseUrl } } })
    expect((await w.chat({ model: 'router/anthropic/claude' })).json.model).toBe('anthropic/claude')
  })
})

describe('a body', () => {
  it.each<[string, string | Buffer]>([
    ['that is not JSON', 'model=gpt-5.5'],
    ['of nothing', ''],
    ['that is an array', '[{"model":"x"}]'],
    ['that is a string', '"gpt-5.5"'],
    ['that is cut off', '{"model":"gpt'],
    ['without a model', '{"messages":[]}'],
    ['whose model is a number', '{"model":5}'],
    ['whose model is null', '{"model":null}'],
    ['whose model is empty', '{"model":""}'],
    ['whose model is an object', '{"model":{"id":"x"}}'],
    ['of bytes', Buffer.from([0xff, 0xfe, 0x00, 0x7b])],
  ])('%s is refused before anything is sent', async (_what, body) => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, ...ANTHROPIC_PROFILE } })
    for (const path of ENDPOINTS) {
      const answer = await w.post(path, body)
      expect(answer.status, path).toBe(400)
      if (path === '/v1/messages') expect(answer.json).toMatchObject({ type: 'error', error: { type: 'invalid_request_error' } })
      else expect(answer.json, path).toMatchObject({ error: { code: 'GW_BAD_REQUEST', next: 'fix_request' } })
    }
    expect(w.simulator.counts().providerCalls.total).toBe(0)
  })

  // The first model was counted and checked, the last one ran; so with a name that holds an escape (B7).
  it.each([
    ['{"model":"gpt-5.5","stream":true,"model":"gpt-5.5-pro"}', '"model"'],
    ['{"model":"openai/gpt-5.5","mod\\u0065l":"anthropic/claude-opus-5"}', '"model"'],
    ['{"model":"gpt-5.5","Model":"gpt-5.5-pro"}', '"model"'],
    ['{"model":"gpt-5.5","stream":false,"\\u0073tream":true}', '"stream"'],
  ])('%s is refused: parsers differ in what it means', async (body, name) => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, ...ANTHROPIC_PROFILE } })
    for (const path of ENDPOINTS) {
      const { status, json } = await w.post(path, body)
      expect(status, path).toBe(400)
      expect(json.error.message, path).toContain(`the body holds ${name} more than once`)
    }
    expect(w.simulator.counts().providerCalls.total).toBe(0)
  })

  it('that names its model with an escape is served and counted by that name', async () => {
    const w = await echoing()
    const body = '{"mod\\u0065l":"gpt-\\u0035.5","messages":[]}'
    expect((await w.post(CHAT, body)).status).toBe(200)
    expect(w.seen.body).toBe(body)
    expect((await w.spanned('chat gpt-5.5')).attributes['gen_ai.request.model']).toBe('gpt-5.5')
  })

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ])('that is compressed (%s) is passed on as what it says', async (encoding, compress) => {
    const w = await echoing()
    const body = '{"model":"gpt-5.5","messages":[]}'
    expect((await w.post(CHAT, compress(Buffer.from(body)), { 'content-encoding': encoding })).status).toBe(200)
    expect(w.seen.body).toBe(body)
  })

  it.each(['gzip', 'deflate', 'br', 'zstd', 'rot13'])('that says it is %s and is not is refused', async encoding => {
    const w = await echoing()
    const answer = await w.post(CHAT, '{"model":"gpt-5.5"}', { 'content-encoding': encoding })
    expect(answer).toMatchObject({ status: 400, json: { error: { code: 'GW_BAD_REQUEST', message: 'the body could not be read' } } })
    expect(w.seen.path).toBeUndefined()
  })

  it('passes byte for byte, whatever stands in it', async () => {
    const w = await echoing()
    const body = '{\n "model" : "gpt-5.5",\r\n"n":1.0e0, "t":"\\u00e9\\ud83d", "t":"twice", "e":{} , "z":[1 ,2]\t}\n'
    await w.post('/v1/responses', body)
    expect(w.seen.body).toBe(body)
  })
})
