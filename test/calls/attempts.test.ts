import { describe, expect, it } from 'vitest'
import {
  ATTR_ATTEMPT_INDEX,
  ATTR_ATTEMPT_OUTCOME,
  ATTR_BILLING,
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_CREDENTIAL_TYPE,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_METHOD,
  ATTR_HTTP_ROUTE,
  ATTR_HTTP_STATUS,
  ATTR_PROFILE,
  ATTR_PROTOCOL,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_SERVER_ADDRESS,
  ATTR_TIME_TO_FIRST_CHUNK,
  EVENT_FIRST_CHUNK,
  SPAN_CALL,
  SPAN_REFRESH,
  SPAN_VISIT,
} from '../../otel/names.ts'
import { ATTEMPT_OUTCOMES, type AttemptOutcome } from '../../otel/words.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import type { Fault } from '../../src/simulator/fault.ts'
import type { FaultName } from '../../src/simulator/named-faults.ts'
import {
  ANTHROPIC_PROFILE,
  codexLogin,
  eventually,
  type GatewayWorld,
  gatewayWorld,
  OPENAI_KEY,
  OPENAI_PROFILE,
  posted,
  providerOf,
} from '../support/gateway-world.ts'

const CHAT = 'chat gpt-5.5'
const LABELS = { provider: 'openai', model: 'gpt-5.5', profile: 'openai:default', credential_type: 'api_key', caller: 'client:node' }

/** Makes a streamed call and gives it up after its first chunk. */
async function leaveAfterFirstChunk(w: GatewayWorld): Promise<void> {
  const leave = new AbortController()
  const body = { model: 'gpt-5.5', stream: true, messages: [] }
  const response = await fetch(`${w.url}/v1/chat/completions`, { ...posted(body), signal: leave.signal })
  await response.body?.getReader().read()
  leave.abort()
}

interface Ending {
  outcome: AttemptOutcome
  fault?: FaultName | Omit<Fault, 'where'>
  error?: string
  code?: string
  status?: number
}

const ENDINGS: readonly Ending[] = [
  { outcome: 'ok', status: 200 },
  { outcome: 'auth', fault: 'invalid_api_key_401', error: 'auth', code: 'invalid_api_key', status: 401 },
  { outcome: 'auth_permanent', fault: 'missing_scope_403', error: 'auth_permanent', code: 'missing_scope', status: 403 },
  { outcome: 'billing', fault: 'insufficient_quota_429', error: 'billing', code: 'insufficient_quota', status: 429 },
  { outcome: 'rate_limit', fault: 'throttled_429', error: 'rate_limit', code: 'rate_limit_exceeded', status: 429 },
  { outcome: 'overloaded', fault: 'overloaded_529', error: 'overloaded', code: 'overloaded_error', status: 529 },
  { outcome: 'timeout', fault: { hang: true }, error: 'UND_ERR_HEADERS_TIMEOUT' },
  { outcome: 'server_error', fault: 'server_error_500', error: 'server_error', code: 'server_error', status: 500 },
  { outcome: 'server_error', fault: { resetBeforeCommit: true }, error: 'ECONNRESET' },
  { outcome: 'format', fault: 'bad_request_400', error: 'format', code: 'invalid_value', status: 400 },
  { outcome: 'model_not_found', fault: 'model_not_found_404', error: 'model_not_found', code: 'model_not_found', status: 404 },
]

describe('an attempt', () => {
  it('can end in every way the list of outcomes knows', () => {
    expect(new Set([...ENDINGS.map(({ outcome }) => outcome), 'aborted'])).toEqual(new Set(ATTEMPT_OUTCOMES))
  })

  it.each(ENDINGS)('ends as $outcome ($fault) in span and metric alike', async ({ outcome, fault, error, code, status }) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, upstream: { headersTimeoutMs: 200 } })
    if (fault) w.simulator.inject({ where: 'provider', ...(typeof fault === 'string' ? { name: fault } : fault) })
    await w.chat()
    const span = await w.spanned(CHAT)
    expect(span).toMatchObject({ kind: 'client', status: error ? 'error' : 'unset' })
    expect(span.attributes[ATTR_ATTEMPT_OUTCOME]).toBe(outcome)
    expect(span.attributes[ATTR_ERROR_TYPE]).toBe(error)
    expect(span.attributes[ATTR_PROVIDER_ERROR_CODE]).toBe(code)
    expect(span.attributes[ATTR_HTTP_STATUS]).toBe(status)
    expect(await w.labels('attemptDuration')).toEqual([{ ...LABELS, outcome, ...(error && { error_type: error }) }])
    const callFailure =
      { ok: undefined, format: 'GW_BAD_REQUEST' }[outcome as string] ?? (outcome === 'ok' ? undefined : 'GW_ALL_PROFILES_FAILED')
    expect(await w.labels('genaiDuration')).toEqual([
      {
        gen_ai_operation_name: 'chat',
        gen_ai_provider_name: 'openai',
        gen_ai_request_model: 'gpt-5.5',
        ...(callFailure && { error_type: callFailure }),
      },
    ])
  })

  it('whose caller leaves is given up upstream, and is no error', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', slowChunksMs: 60_000, times: 1 })
    const leave = new AbortController()
    const asking = fetch(`${w.url}/v1/chat/completions`, {
      ...posted({ model: 'gpt-5.5', stream: true, messages: [] }),
      signal: leave.signal,
    })
    await asking
    leave.abort()
    // The simulator pauses for a minute before each event: that it counts the call means that its connection was cut.
    await eventually(() => expect(w.simulator.counts().providerCalls.total).toBe(1))
    const span = await w.spanned(CHAT)
    expect(span).toMatchObject({ status: 'unset', attributes: { [ATTR_ATTEMPT_OUTCOME]: 'aborted' } })
    const call = await w.spanned(SPAN_CALL)
    expect(call).toMatchObject({ status: 'unset', attributes: { [ATTR_ATTEMPT_OUTCOME]: 'aborted' } })
    expect(call.attributes).not.toHaveProperty(ATTR_ERROR_TYPE)
    expect(await w.labels('attemptDuration')).toEqual([{ ...LABELS, outcome: 'aborted' }])
    expect(await w.watch.profiles()).toMatchObject([{ state: 'ready' }])
  })

  it('whose caller leaves before there is an answer leads to no fallback', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me')], profiles: OPENAI_PROFILE })
    const hanging = w.simulator.inject({ where: 'provider', hang: true })
    const leave = new AbortController()
    const asking = fetch(`${w.url}/v1/responses`, { ...posted({ model: 'gpt-5.5', input: 'x', store: false }), signal: leave.signal })
    await eventually(() => expect(hanging.hits()).toBe(1))
    leave.abort()
    await expect(asking).rejects.toThrow()
    await w.spanned(SPAN_CALL)
    expect(w.spans(CHAT)).toHaveLength(1)
    expect(await w.series('fallbacks')).toEqual([])
    const server = await w.spanned('POST /v1/responses')
    expect(server.status).toBe('unset')
    expect(server.attributes).not.toHaveProperty(ATTR_HTTP_STATUS)
  })

  it('whose caller leaves while the token is refreshed is not made at all; the refresh goes on', async () => {
    const received = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    const w = await gatewayWorld({
      stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })],
      profiles: OPENAI_PROFILE,
      simulated: {
        onTokenRequest: step => {
          if (step !== 'received') return
          received.resolve()
          return released.promise
        },
      },
    })
    const leave = new AbortController()
    const asking = fetch(`${w.url}/v1/responses`, { ...posted({ model: 'gpt-5.5', input: 'x', store: false }), signal: leave.signal })
    await received.promise
    leave.abort()
    await expect(asking).rejects.toThrow()
    const call = await w.spanned(SPAN_CALL)
    expect(call).toMatchObject({ status: 'unset', attributes: { [ATTR_ATTEMPT_OUTCOME]: 'aborted' } })
    released.resolve()
    await w.spanned(SPAN_REFRESH)
    expect(w.simulator.counts()).toMatchObject({ tokenRequests: { committed: 1 }, providerCalls: { total: 0 } })
    expect(await w.series('fallbacks')).toEqual([])
  })
})

describe('a stream that has begun', () => {
  it('is never tried again when it breaks, and its client sees that it broke', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me')], profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', cutStreamAfterChunks: 3 })
    const response = await fetch(`${w.url}/v1/responses`, posted({ model: 'gpt-5.5', input: 'x', store: false, stream: true }))
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toThrow('terminated')
    expect(w.simulator.counts().providerCalls.total).toBe(1)
    const call = await w.spanned(SPAN_CALL)
    expect(call).toMatchObject({ status: 'error', attributes: { [ATTR_ERROR_TYPE]: 'broken_off', [ATTR_PROFILE]: 'openai-codex:me' } })
    expect(w.spans(CHAT)).toMatchObject([{ status: 'error', attributes: { [ATTR_ATTEMPT_OUTCOME]: 'server_error' } }])
    expect(await w.series('fallbacks')).toEqual([])
  })

  it('is cut when the provider falls silent in the middle', async () => {
    const silent = await providerOf((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: {"a":1}\n\n')
    })
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, upstream: { bodyIdleMs: 200 }, providers: { openai: { baseUrl: silent } } })
    const response = await fetch(`${w.url}/v1/chat/completions`, posted({ model: 'gpt-5.5', stream: true, messages: [] }))
    await expect(response.text()).rejects.toThrow('terminated')
    expect((await w.spanned(CHAT)).attributes).toMatchObject({
      [ATTR_ATTEMPT_OUTCOME]: 'timeout',
      [ATTR_ERROR_TYPE]: 'UND_ERR_BODY_TIMEOUT',
    })
  })

  it('leaves nothing behind when its client leaves in the middle', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', slowChunksMs: 20 })
    await leaveAfterFirstChunk(w)
    const span = await w.spanned(CHAT)
    expect(span).toMatchObject({ status: 'unset', attributes: { [ATTR_ATTEMPT_OUTCOME]: 'aborted' } })
    await eventually(() => expect(w.simulator.counts().providerCalls.total).toBe(1))
  })
})

describe('the spans of a call', () => {
  it('hang under each other: request, call, visit and attempts', async () => {
    const w = await gatewayWorld({
      stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })],
      profiles: OPENAI_PROFILE,
    })
    w.simulator.inject({ where: '/backend-api/codex/responses', name: 'throttled_429' })
    const answer = await w.responses({}, { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' })
    const server = await w.spanned('POST /v1/responses')
    const call = await w.spanned(SPAN_CALL)
    const visit = await w.spanned(SPAN_VISIT)
    const attempts = w.spans(CHAT)
    expect(server).toMatchObject({
      kind: 'server',
      traceId: '0af7651916cd43dd8448eb211c80319c',
      parentSpanId: 'b7ad6b7169203331',
      status: 'unset',
    })
    expect(server.attributes).toMatchObject({ [ATTR_HTTP_METHOD]: 'POST', [ATTR_HTTP_ROUTE]: '/v1/responses', [ATTR_HTTP_STATUS]: 200 })
    expect(call).toMatchObject({ kind: 'internal', parentSpanId: server.spanId })
    expect(visit.parentSpanId).toBe(call.spanId)
    expect(attempts.map(({ parentSpanId }) => parentSpanId)).toEqual([call.spanId, call.spanId])
    expect(attempts.map(({ attributes }) => attributes[ATTR_ATTEMPT_INDEX])).toEqual([0, 1])
    expect(new Set([call, visit, ...attempts].map(({ traceId }) => traceId))).toEqual(new Set([server.traceId]))
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
