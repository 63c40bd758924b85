import { describe, expect, it } from 'vitest'
import {
  ATTR_ATTEMPT_INDEX,
  ATTR_BILLING,
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_CREDENTIAL_TYPE,
  ATTR_HTTP_METHOD,
  ATTR_HTTP_ROUTE,
  ATTR_HTTP_STATUS,
  ATTR_PROTOCOL,
  ATTR_PROVIDER,
  ATTR_SERVER_ADDRESS,
  ATTR_TIME_TO_FIRST_CHUNK,
  ATTR_URL_PATH,
  EVENT_FIRST_CHUNK,
  SPAN_ACQUIRE,
  SPAN_CALL,
} from '../../otel/semconv.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { ANTHROPIC_PROFILE, codexLogin, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE } from '../support/gateway-world.ts'

const CHAT = 'chat gpt-5.5'

describe('the spans of a call', () => {
  it('hang under each other: request, call, acquisition and attempts', async () => {
    const w = await gatewayWorld({
      stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })],
      profiles: OPENAI_PROFILE,
    })
    w.simulator.inject({ where: '/backend-api/codex/responses', name: 'throttled_429' })
    const answer = await w.responses({}, { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' })
    const server = await w.spanned('POST /v1/responses')
    const call = await w.spanned(SPAN_CALL)
    const acquisition = await w.spanned(SPAN_ACQUIRE)
    const attempts = w.spans(CHAT)
    expect(server).toMatchObject({
      kind: 'server',
      traceId: '0af7651916cd43dd8448eb211c80319c',
      parentSpanId: 'b7ad6b7169203331',
      status: 'unset',
    })
    expect(server.attributes).toMatchObject({ [ATTR_HTTP_METHOD]: 'POST', [ATTR_HTTP_ROUTE]: '/v1/responses', [ATTR_HTTP_STATUS]: 200 })
    expect(call).toMatchObject({ kind: 'internal', parentSpanId: server.spanId })
    expect(acquisition.parentSpanId).toBe(call.spanId)
    expect(attempts.map(({ parentSpanId }) => parentSpanId)).toEqual([call.spanId, call.spanId])
    expect(attempts.map(({ attributes }) => attributes[ATTR_ATTEMPT_INDEX])).toEqual([0, 1])
    expect(new Set([call, acquisition, ...attempts].map(({ traceId }) => traceId))).toEqual(new Set([server.traceId]))
    expect(answer.headers.get('x-gatewatch-trace')).toBe(server.traceId)
  })

  it('say who called, what was asked and with which credential', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await w.chat({ stream: false }, { 'x-gatewatch-caller': 'nightly job' })
    const call = await w.spanned(SPAN_CALL)
    expect(call.attributes).toMatchObject({
      [ATTR_CALLER]: 'client:nightly job',
      [ATTR_CALLER_KIND]: 'client',
      [ATTR_PROTOCOL]: 'chat_completions',
      [ATTR_PROVIDER]: 'openai',
      [ATTR_BILLING]: 'metered',
    })
    const attempt = await w.spanned(CHAT)
    expect(attempt.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-5.5',
      'gen_ai.request.stream': false,
      [ATTR_CALLER]: 'client:nightly job',
      [ATTR_CREDENTIAL_TYPE]: 'api_key',
      [ATTR_CREDENTIAL_FINGERPRINT]: fingerprint(OPENAI_KEY),
      [ATTR_SERVER_ADDRESS]: '127.0.0.1',
      [ATTR_URL_PATH]: '/v1/chat/completions',
    })
    expect(attempt.attributes).not.toHaveProperty(ATTR_CREDENTIAL_EXPIRES_IN)
  })

  it('say how long the access token is still good', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: 3_600_000 })] })
    await w.responses()
    const { attributes } = await w.spanned(CHAT)
    expect(attributes[ATTR_CREDENTIAL_TYPE]).toBe('oauth')
    expect(attributes[ATTR_CREDENTIAL_EXPIRES_IN]).toBeGreaterThan(3500)
  })

  it.each([
    ['openai/JS 7.57.0', 'client:openai/JS'],
    ['codex_cli_rs/0.46.0 (Mac OS 15.6; arm64)', 'client:codex_cli_rs/0.46.0'],
    ['(no name)', 'client:unknown'],
    [`${'x'.repeat(40)}yz/1`, `client:${'x'.repeat(40)}`],
  ])('name a client by its product: %s', async (userAgent, caller) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await w.chat({}, { 'user-agent': userAgent })
    expect((await w.spanned(SPAN_CALL)).attributes[ATTR_CALLER]).toBe(caller)
  })

  it('take no name that is a sentence', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await w.chat({}, { 'x-gatewatch-caller': `"${'a'.repeat(100)}"`, 'user-agent': 'tool/1' })
    expect((await w.spanned(SPAN_CALL)).attributes[ATTR_CALLER]).toBe('client:tool/1')
  })
})

describe('the tokens of a call and the time to its first chunk', () => {
  const messages = { model: 'claude-sonnet-5', max_tokens: 100, messages: [{ role: 'user', content: 'hello' }] }
  it.each([
    ['chat completions', '/v1/chat/completions', { model: 'gpt-5.5', messages: [{ role: 'user', content: 'hello' }] }, 'openai'],
    [
      'streamed chat completions',
      '/v1/chat/completions',
      { model: 'gpt-5.5', messages: [], stream: true, stream_options: { include_usage: true } },
      'openai',
    ],
    ['responses', '/v1/responses', { model: 'gpt-5.5', input: 'hello' }, 'openai'],
    ['streamed responses', '/v1/responses', { model: 'gpt-5.5', input: 'hello', stream: true }, 'openai'],
    ['messages', '/v1/messages', messages, 'anthropic'],
    ['streamed messages', '/v1/messages', { ...messages, stream: true }, 'anthropic'],
  ])('are read from %s as they pass', async (_what, path, body, provider) => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, ...ANTHROPIC_PROFILE } })
    const { text, status } = await w.post(path, body)
    expect(status).toBe(200)
    const span = await w.spanned(`chat ${body.model}`)
    const [, input] = /"(?:prompt|input)_tokens":(\d+)/.exec(text) ?? []
    const output = [...text.matchAll(/"(?:completion|output)_tokens":(\d+)/g)].at(-1)?.[1]
    expect(span.attributes['gen_ai.usage.input_tokens']).toBe(Number(input))
    expect(span.attributes['gen_ai.usage.output_tokens']).toBe(Number(output))
    expect(span.attributes[ATTR_TIME_TO_FIRST_CHUNK]).toBeGreaterThan(0)
    expect(span.events.map(({ name }) => name)).toEqual([EVENT_FIRST_CHUNK])
    const shared = { gen_ai_operation_name: 'chat', gen_ai_provider_name: provider, gen_ai_request_model: body.model }
    expect(await w.labels('genaiTokens')).toEqual([
      { ...shared, gen_ai_token_type: 'input' },
      { ...shared, gen_ai_token_type: 'output' },
    ])
    expect(await w.labels('timeToFirstChunk')).toEqual([{ provider, model: body.model, profile: `${provider}:default` }])
  })
})
