import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { GENAI_USAGE_INPUT_TOKENS, GENAI_USAGE_OUTPUT_TOKENS } from '../../otel/genai-semconv.ts'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_PROFILE,
  ATTR_TIME_TO_FIRST_CHUNK,
} from '../../otel/semconv.ts'
import type { BegunCallEnd } from '../../src/calls/begun-call.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { atTheEnd, observed } from '../support/gateway-world.ts'

async function world() {
  const faults: unknown[] = []
  const watch = await startGatewatch({ environment: {}, onError: fault => faults.push(fault) })
  atTheEnd(() => watch.close())
  const seen = observed(watch)
  const ends = () =>
    seen.spans('chat m-1').map(({ attributes, status }) => ({
      outcome: attributes[ATTR_ATTEMPT_OUTCOME],
      status: attributes[ATTR_HTTP_STATUS],
      error: attributes[ATTR_ERROR_TYPE],
      isError: status === 'error',
    }))
  const begin = () => watch.beginCall({ provider: 'openai', profile: 'openai:me', model: 'm-1' })
  return { watch, faults, begin, ends, ...seen }
}

describe('a call that the application begins', () => {
  it('is recorded by what is reported of it, once', async () => {
    const w = await world()
    const call = w.begin()
    expect(call.run(() => 'result')).toBe('result')
    call.firstChunk()
    call.firstChunk()
    call.usage({ inputTokens: 5 })
    call.usage({ outputTokens: 2 })
    call.usage({ outputTokens: 3 })
    call.end({ status: 200 })
    call.end({ outcome: 'server_error' })
    const [span, ...others] = w.spans('chat m-1')
    expect(others).toEqual([])
    expect(span?.attributes).toMatchObject({
      [ATTR_CALLER]: 'test/calls/begun-call.test.ts#begin',
      [ATTR_PROFILE]: 'openai:me',
      [ATTR_ATTEMPT_OUTCOME]: 'ok',
      [ATTR_HTTP_STATUS]: 200,
      [GENAI_USAGE_INPUT_TOKENS]: 5,
      [GENAI_USAGE_OUTPUT_TOKENS]: 3,
    })
    expect(span?.attributes[ATTR_TIME_TO_FIRST_CHUNK]).toBeGreaterThanOrEqual(0)
    expect((await w.labels('genaiTokens')).map(labels => labels.gen_ai_token_type)).toEqual(['input', 'output'])
    expect(await w.labels('genaiDuration')).toEqual([
      { gen_ai_operation_name: 'chat', gen_ai_provider_name: 'openai', gen_ai_request_model: 'm-1' },
    ])
  })

  it.each<[string, BegunCallEnd | undefined, object]>([
    ['nothing', undefined, { outcome: 'ok' }],
    ['a status', { status: 429 }, { outcome: 'rate_limit', status: 429, error: 'rate_limit', isError: true }],
    ['an error', { error: new RangeError('x') }, { outcome: 'server_error', error: 'RangeError', isError: true }],
    ['an abort', { error: new DOMException('x', 'AbortError') }, { outcome: 'aborted' }],
    ['an outcome', { outcome: 'billing' }, { outcome: 'billing', error: 'billing', isError: true }],
    [
      'an outcome, a status and an error',
      { outcome: 'overloaded', status: 500, error: new TypeError('x') },
      { outcome: 'overloaded', status: 500, error: 'TypeError', isError: true },
    ],
  ])('ends by %s', async (_what, end, expected) => {
    const w = await world()
    w.begin().end(end)
    expect(w.ends()).toEqual([{ status: undefined, error: undefined, isError: false, ...expected }])
  })

  it('reports what is no outcome, and ends all the same', async () => {
    const w = await world()
    w.begin().end({ outcome: 'fine' as never })
    expect(w.ends()).toMatchObject([{ outcome: 'ok' }])
    expect(w.faults).toEqual([
      expect.objectContaining({ code: 'GW_CONFIG', message: expect.stringMatching(/^beginCall: outcome of end is none of: ok, /) }),
    ])
  })

  it('begun with what cannot be used is reported, and breaks nothing', async () => {
    const w = await world()
    w.watch.beginCall(undefined as unknown as { provider: string }).end()
    w.watch.beginCall({ provider: 5 } as unknown as { provider: string }).end()
    expect(w.faults.map(fault => (fault as Error).message)).toEqual([
      'beginCall: got missing, allowed: an object with provider, profile, model',
      'beginCall: provider is a value of type number, allowed: a string that is not empty',
    ])
  })

  it('is aborted at the end of its block, or when nothing refers to it', async () => {
    const w = await world()
    {
      using call = w.begin()
      call.firstChunk()
    }
    expect(w.ends()).toMatchObject([{ outcome: 'aborted', isError: false }])
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    w.begin()
    const left = () => {
      collect()
      return w.ends().map(({ outcome }) => outcome)
    }
    await expect.poll(left).toEqual(['aborted', 'aborted'])
  })
})
