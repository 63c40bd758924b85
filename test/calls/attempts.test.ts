import { describe, expect, it } from 'vitest'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_PROFILE,
  ATTR_PROVIDER_ERROR_CODE,
  SPAN_CALL,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { ATTEMPT_OUTCOMES, type AttemptOutcome } from '../../src/domain/enums.ts'
import type { Fault, FaultName } from '../../src/simulator/fault.ts'
import { codexLogin, eventually, type GatewayWorld, gatewayWorld, OPENAI_PROFILE, posted, providerOf } from '../support/gateway-world.ts'

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

interface EndObserver {
  outcome: AttemptOutcome
  fault?: FaultName | Omit<Fault, 'where'>
  error?: string
  code?: string
  status?: number
}

const ENDINGS: readonly EndObserver[] = [
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
    // The one that must time out does so soon; every other one has the time it takes.
    const upstream = outcome === 'timeout' ? { headersTimeoutMs: 200 } : {}
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, upstream })
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
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, upstream: { bodyIdleMs: 1_000 }, providers: { openai: { baseUrl: silent } } })
    const response = await fetch(`${w.url}/v1/chat/completions`, posted({ model: 'gpt-5.5', stream: true, messages: [] }))
    await expect(response.text()).rejects.toThrow('terminated')
    expect((await w.spanned(CHAT)).attributes).toMatchObject({
      [ATTR_ATTEMPT_OUTCOME]: 'timeout',
      [ATTR_ERROR_TYPE]: 'UND_ERR_BODY_TIMEOUT',
    })
  })

  it('leaves nothing behind when its client leaves in the middle', async () => {
    const cut = Promise.withResolvers<void>()
    const endless = await providerOf((_request, response) => {
      response.once('close', cut.resolve)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"a":1}\n\n') // and it never ends
    })
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl: endless } } })
    await leaveAfterFirstChunk(w)
    await cut.promise
    const span = await w.spanned(CHAT)
    expect(span).toMatchObject({ status: 'unset', attributes: { [ATTR_ATTEMPT_OUTCOME]: 'aborted' } })
  })
})
