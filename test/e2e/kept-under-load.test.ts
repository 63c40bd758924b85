import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { startStandaloneSdk } from '../../otel/sdk/sdk.ts'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_DECISION,
  ATTR_REASON,
  ATTR_SAMPLE_WEIGHT,
  ATTR_VIA,
  EVENT_FALLBACK,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import type { CallAnswer } from '../../src/calls/answer-stream.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { CODEX_PATH, loginThenKey } from '../calls/login-then-key.ts'
import { atTheEnd, eventually } from '../support/gateway-world.ts'
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../support/otlp-receiver.ts'

const LOAD = 600
const AT_ONCE = 20
const AT_ONE_MOMENT = 100

async function receive(): Promise<OtlpReceiver> {
  const receiver = await startOtlpReceiver()
  atTheEnd(() => receiver.stop())
  return receiver
}

/** Many calls, some at a time. */
async function load(turn: (index: number) => Promise<unknown>): Promise<void> {
  for (let index = 0; index < LOAD; index += AT_ONCE)
    await Promise.all(Array.from({ length: AT_ONCE }, (_, offset) => turn(index + offset)))
}

async function drain({ body }: CallAnswer): Promise<void> {
  for await (const _chunk of body);
}

/** The trace and all that hangs under it: no parent is missing. */
function isWhole(trace: readonly ReceivedSpan[]): boolean {
  const ids = new Set(trace.map(({ spanId }) => spanId))
  return trace.filter(({ parentSpanId }) => !ids.has(parentSpanId)).length === 1
}

describe('under load', () => {
  it('every refresh, bypass, fallback and error is recorded and exported with its whole trace; of what is ordinary, a part', async () => {
    const receiver = await receive()
    const w = await loginThenKey({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }, startTelemetry: startStandaloneSdk })
    const spare = w.simulator.grantFor({ provider: 'openai-codex', account: 'spare' })
    const once = (name: 'model_not_found_404' | 'bad_request_400' | 'token_expired_401') =>
      w.simulator.inject({ where: CODEX_PATH, name, times: 1 })
    const asked = { fallbacks: 0, errors: 0, bypasses: 0, acquisitions: 0 }
    let token = spare.refresh
    const bypass = async () => {
      const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token, client_id: 'app_EMoamEEZ73f0CkXaXp7hrann' })
      const answer = await fetch(w.simulator.url + TOKEN_PATHS.openai, { method: 'POST', body })
      token = ((await answer.json()) as { refresh_token?: string }).refresh_token ?? token
    }
    await load(async index => {
      if (index % 30 === 0) {
        asked.fallbacks += 1
        once('model_not_found_404')
      }
      if (index % 30 === 10) {
        asked.errors += 1
        once('bad_request_400')
      }
      if (index % 150 === 20) once('token_expired_401')
      if (index % 60 === 40) {
        asked.bypasses += 1
        await bypass()
      }
      if (index % 3 === 0) {
        asked.acquisitions += 1
        await w.watch.acquireToken({ profile: 'openai-codex:me', reason: 'forced' })
      }
      await w.responses()
    })
    // More at one moment than are kept in a second, however slowly the others came.
    const body = { model: 'gpt-5.5', input: 'hello', store: false }
    await Promise.all(
      Array.from({ length: AT_ONE_MOMENT }, () => w.watch.call({ protocol: 'responses', model: 'gpt-5.5', body }).then(drain)),
    )
    // What was passed over last is shown by the next one that is kept, as soon as there is room for it again.
    await sleep(1_500)
    await w.responses()
    const traces = () => Map.groupBy(receiver.spans(), ({ traceId }) => traceId)
    // The span of a request ends a moment after its client has the answer.
    const exemplars = async () => [...(await w.watch.metrics('application/openmetrics-text')).body.matchAll(/trace_id="(\w+)"/g)]
    await eventually(async () => {
      await w.watch.flush()
      expect([...traces().values()].filter(trace => !isWhole(trace))).toEqual([])
      expect((await exemplars()).flatMap(([, traceId = '']) => (traces().has(traceId) ? [] : [traceId]))).toEqual([])
    })
    expect((await exemplars()).length).toBeGreaterThan(3)

    const measured = async (key: 'fallbacks' | 'bypasses' | 'refreshDuration' | 'acquisitions') =>
      (await w.series(key)).reduce((sum, { value }) => sum + value, 0)
    const refreshed = await measured('refreshDuration')
    const recorded = await w.watch.events.refreshes({ most: LOAD })
    const { acquisitions } = await w.watch.events.counts()
    const calls = w.spans(SPAN_CALL)
    const sent = receiver.spans()
    const report = (event: string) => sent.filter(({ events }) => events.some(({ name }) => name === event)).length

    expect(asked.fallbacks).toBe(await measured('fallbacks'))
    expect(calls.filter(({ events }) => events.some(({ name }) => name === EVENT_FALLBACK))).toHaveLength(asked.fallbacks)
    expect(report(EVENT_FALLBACK)).toBe(asked.fallbacks)

    expect(calls.filter(({ status }) => status === 'error')).toHaveLength(asked.errors)
    expect(sent.filter(({ name, status }) => name === SPAN_CALL && status.code === 2)).toHaveLength(asked.errors)
    const failed = (outcome: unknown) => outcome === 'format' || outcome === 'model_not_found' || outcome === 'auth'
    expect(sent.filter(({ attributes }) => failed(attributes[ATTR_ATTEMPT_OUTCOME])).length).toBeGreaterThanOrEqual(
      asked.errors + asked.fallbacks,
    )

    expect(await measured('bypasses')).toBe(asked.bypasses)
    expect(recorded.filter(({ via }) => via === 'bypass')).toHaveLength(asked.bypasses)
    expect(recorded).toHaveLength(refreshed)
    expect(refreshed).toBeGreaterThan(asked.bypasses)
    const exported = sent.filter(({ name }) => name === SPAN_REFRESH)
    expect(exported).toHaveLength(refreshed)
    expect(exported.filter(({ attributes }) => attributes[ATTR_VIA] === 'bypass')).toHaveLength(asked.bypasses)
    for (const { attributes } of exported) {
      expect(attributes[ATTR_CALLER]).toEqual(expect.stringMatching(/^(?:client:|test\/e2e\/)/))
      expect(attributes[ATTR_REASON]).toEqual(expect.any(String))
    }

    const visited = acquisitions.reduce((sum, { count }) => sum + count, 0)
    expect(visited).toBe(await measured('acquisitions'))
    expect(visited).toBeGreaterThanOrEqual(asked.acquisitions)
    const notReuse = (decision: unknown) => decision !== 'reuse'
    const wanted = acquisitions.reduce((sum, { decision, count }) => sum + (notReuse(decision) ? count : 0), 0)
    expect(sent.filter(({ name, attributes }) => name === SPAN_ACQUIRE && notReuse(attributes[ATTR_DECISION]))).toHaveLength(wanted)

    expect(sent.filter(({ name }) => name === SPAN_CALL).length).toBeLessThan(LOAD)
    const goodAttempts = (await w.series('attemptDuration')).filter(({ labels }) => labels.outcome === 'ok')
    const counted = goodAttempts.reduce((sum, { value }) => sum + value, 0)
    const good = w.spans().filter(({ attributes }) => attributes[ATTR_ATTEMPT_OUTCOME] === 'ok')
    expect(good.length).toBeLessThan(counted)
    expect(good.reduce((sum, { attributes }) => sum + Number(attributes[ATTR_SAMPLE_WEIGHT] ?? 1), 0)).toBe(counted)
  })
})
