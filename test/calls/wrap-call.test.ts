import { describe, expect, it } from 'vitest'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_CODE_STACK,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_SAMPLE_WEIGHT,
} from '../../otel/semconv.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { atTheEnd, observed } from '../support/gateway-world.ts'

async function world() {
  const watch = await startGatewatch({ environment: {} })
  atTheEnd(() => watch.close())
  return { watch, ...observed(watch) }
}

const LABELS = { provider: 'corp', model: 'm-1', profile: 'corp:me', caller: 'test/calls/wrap-call.test.ts#askTheModel' }

describe('a provider call of another caller', () => {
  it('leaves arguments, result and `this` alone, and is seen with its caller', async () => {
    const w = await world()
    const send = async (account: string, model: string) => ({ status: 200, account, model })
    const watched = w.watch.wrapCall(send, { provider: 'corp', profile: account => account, model: (_account, model) => model })
    async function askTheModel() {
      return await watched('corp:me', 'm-1')
    }
    expect(await askTheModel()).toEqual({ status: 200, account: 'corp:me', model: 'm-1' })
    const [span] = w.spans('chat m-1')
    expect(span).toMatchObject({ kind: 'client', status: 'unset' })
    expect(span?.attributes).toMatchObject({
      [ATTR_PROVIDER]: 'corp',
      [ATTR_PROFILE]: 'corp:me',
      [ATTR_ATTEMPT_OUTCOME]: 'ok',
      [ATTR_HTTP_STATUS]: 200,
      [ATTR_CALLER]: LABELS.caller,
    })
    expect(await w.labels('attemptDuration')).toEqual([{ ...LABELS, outcome: 'ok' }])
  })

  const coded = Object.assign(new Error('refused, dear sk-canary'), { code: 'ECONNREFUSED' })
  it.each<[string, () => unknown, Record<string, unknown>]>([
    ['a good answer without a status', () => 'text', { outcome: 'ok' }],
    ['a redirect', () => ({ status: 302 }), { outcome: 'ok' }],
    ['an answer with status 401', () => ({ status: 401 }), { outcome: 'auth', error_type: 'auth' }],
    ['an answer of undici', () => ({ statusCode: 429 }), { outcome: 'rate_limit', error_type: 'rate_limit' }],
    [
      'an SDK error with a status',
      () => Promise.reject(Object.assign(new Error('x'), { status: 402 })),
      { outcome: 'billing', error_type: 'billing' },
    ],
    [
      'an SDK error with a response',
      () => Promise.reject(Object.assign(new Error('x'), { response: { status: 529 } })),
      { outcome: 'overloaded', error_type: 'overloaded' },
    ],
    ['a missing model', () => ({ status: 404 }), { outcome: 'model_not_found', error_type: 'model_not_found' }],
    ['a gateway that gave up', () => ({ status: 504 }), { outcome: 'timeout', error_type: 'timeout' }],
    ['a request that is wrong', () => ({ status: 422 }), { outcome: 'format', error_type: 'format' }],
    ['a server error', () => ({ status: 500 }), { outcome: 'server_error', error_type: 'server_error' }],
    ['a system error', () => Promise.reject(coded), { outcome: 'server_error', error_type: 'ECONNREFUSED' }],
    ['a time limit', () => Promise.reject(new DOMException('x', 'TimeoutError')), { outcome: 'timeout', error_type: 'timeout' }],
    ['a caller who gave up', () => Promise.reject(new DOMException('x', 'AbortError')), { outcome: 'aborted' }],
    [
      'an error that is thrown at once',
      () => {
        throw new RangeError('x')
      },
      { outcome: 'server_error', error_type: 'RangeError' },
    ],
  ])('%s is judged', async (_what, run, expected) => {
    const w = await world()
    const watched = w.watch.wrapCall(async () => run(), { provider: 'corp' })
    await watched().catch(() => undefined)
    const [labels] = await w.labels('attemptDuration')
    const { provider: _provider, model: _model, profile: _profile, caller: _caller, ...rest } = labels ?? {}
    expect(rest).toEqual(expected)
    const [span] = w.spans('chat unknown')
    expect(span?.attributes[ATTR_ATTEMPT_OUTCOME]).toBe(expected.outcome)
    expect(span?.attributes[ATTR_ERROR_TYPE]).toBe(expected.error_type)
    expect(span?.status).toBe(expected.error_type ? 'error' : 'unset')
  })

  it('throws what it threw', async () => {
    const w = await world()
    await expect(w.watch.wrapCall(() => Promise.reject(coded), { provider: 'corp' })()).rejects.toBe(coded)
  })

  it('goes through even when its arguments cannot be read', async () => {
    const w = await world()
    const fail = () => {
      throw new TypeError('no such field')
    }
    const watched = w.watch.wrapCall(async (value: number) => value + 1, { provider: 'corp', profile: fail, model: fail })
    expect(await watched(1)).toBe(2)
    expect(await w.labels('attemptDuration')).toMatchObject([{ profile: 'unknown', model: 'unknown', outcome: 'ok' }])
  })

  it('is counted with its caller however many there are, and kept where it fails; those that are kept stand for the others', async () => {
    const w = await world()
    let isDown = false
    const watched = w.watch.wrapCall(async () => ({ status: isDown ? 500 : 200 }), { provider: 'corp', model: 'm-1', profile: 'corp:me' })
    async function askTheModel() {
      return await watched()
    }
    for (let call = 0; call < 300; call += 1) await askTheModel()
    const kept = w.spans('chat m-1')
    expect(kept.length).toBeLessThan(200)
    const standFor = kept.map(({ attributes }) => Number(attributes[ATTR_SAMPLE_WEIGHT] ?? 1)).reduce((sum, weight) => sum + weight, 0)
    isDown = true
    await askTheModel()
    await askTheModel()
    const [first, second] = w.spans('chat m-1').slice(kept.length)
    expect([first, second].map(span => span?.attributes[ATTR_CALLER])).toEqual([LABELS.caller, LABELS.caller])
    expect(first?.attributes[ATTR_CODE_STACK]).toContain('askTheModel (test/calls/wrap-call.test.ts:')
    // The call that follows a failure has its whole stack.
    expect(String(second?.attributes[ATTR_CODE_STACK]).split('\n').length).toBeGreaterThanOrEqual(
      String(kept[0]?.attributes[ATTR_CODE_STACK]).split('\n').length,
    )
    const counted = (await w.series('attemptDuration')).map(({ labels, value }) => [labels.caller, labels.outcome, value])
    expect(counted).toEqual([
      [LABELS.caller, 'ok', 300],
      [LABELS.caller, 'server_error', 2],
    ])
    expect(standFor).toBeLessThanOrEqual(300)
    expect(standFor).toBeGreaterThanOrEqual(kept.length)
  })
})
