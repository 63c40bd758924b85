import { describe, expect, it } from 'vitest'
import type { CallsAnswer, FallbacksAnswer, ProfilesAnswer } from '../../src/ops/api-types.ts'
import { CODEX_PATH, KEY, loginThenKey, ME } from '../calls/login-then-key.ts'
import { codexLogin, eventually, type GatewayWorld, gatewayWorld, OPENAI_PROFILE, posted } from '../support/gateway-world.ts'

const data = async <T>(w: GatewayWorld, path: string): Promise<T> => (await w.ask(`/ops/data/${path}?window=all`)).json as T
const CALL = { model: 'gpt-5.5', input: 'hello', store: false }

/** A client that leaves as soon as `isTime`. */
async function leave(w: GatewayWorld, isTime: () => Promise<unknown>): Promise<void> {
  const gone = new AbortController()
  const asked = fetch(`${w.url}/v1/responses`, { ...posted(CALL), signal: gone.signal })
  await isTime()
  gone.abort()
  await expect(asked).rejects.toThrow()
}

const sum = (samples: readonly { readonly value: number }[]) => samples.reduce((all, { value }) => all + value, 0)

// Seen: twenty calls that their callers gave up stood on the page as "not served", and in the view of profiles as good ones.
// Why: a call without a profile that served counted as failed, an attempt that did not fail as good.
// Fix: what a caller gives up is a third of its own, on the page, in the profiles and in the findings (issue 1, E8).
describe('a call that its caller gives up', () => {
  it('counts as given up, neither as failed nor as good', async () => {
    const w = await loginThenKey()
    await w.responses()
    const hanging = w.simulator.inject({ where: CODEX_PATH, hang: true })
    for (let left = 1; left <= 3; left += 1) await leave(w, () => eventually(() => expect(hanging.hits()).toBe(left)))
    await eventually(async () => expect((await data<FallbacksAnswer>(w, 'fallbacks')).calls).toBe(4))
    const fallbacks = await data<FallbacksAnswer>(w, 'fallbacks')
    expect(fallbacks).toMatchObject({ aborted: 3, notServed: 0, fellBack: 0, changedBilling: 0 })
    expect(fallbacks.ways.map(({ steps, end, count }) => [steps, end, count])).toEqual([
      [[{ profile: ME, reason: '' }], 'aborted', 3],
      [[{ profile: ME, reason: '' }], 'subscription', 1],
    ])
    expect(fallbacks.timeline.ends.map(({ name, counts }) => [name, counts.reduce((a, b) => a + b, 0)])).toEqual([
      ['aborted', 3],
      [ME, 1],
    ])
    const calls = await data<CallsAnswer>(w, 'calls')
    expect(calls).toMatchObject({ total: 4, failures: 0, aborts: 3 })
    expect(calls.good.reduce((a, b) => a + b, 0)).toBe(1)
    const { profiles } = await data<ProfilesAnswer>(w, 'profiles')
    expect(profiles.find(({ profile }) => profile === ME)).toMatchObject({ state: 'ready', runtime: { ok: 1, failed: 0, aborted: 3 } })
    const attempts = await w.series('attemptDuration')
    expect(attempts.map(({ labels: { outcome, error_type }, value }) => [outcome, error_type, value])).toEqual([
      ['ok', undefined, 1],
      ['aborted', undefined, 3],
    ])
  })

  it('that the gateway gives up although its caller waits, is a call that failed', async () => {
    const w = await loginThenKey({ listen: { stopGraceMs: 0 } })
    const hanging = w.simulator.inject({ where: CODEX_PATH, hang: true })
    const asked = w.responses()
    await eventually(() => expect(hanging.hits()).toBe(1))
    const stopped = w.watch.close()
    expect((await asked).status).toBe(503)
    await stopped
    const [call] = w.spans('gatewatch.call')
    expect(call).toMatchObject({ status: 'error', attributes: { 'error.type': 'GW_CLOSED' } })
  })
})

// Seen: the page counted twelve changes of billing where the metrics had none, a 429 that was passed on carried the header
// of one, and the alert named the profile tried last instead of the one that was meant. Why: each step of a way was
// compared with the one before, whether anybody answered or not. Fix: once, when a profile answers, against the preferred
// one (issue 1, E8).
describe('a change of billing', () => {
  const two = () =>
    gatewayWorld({
      stored: simulator => [codexLogin(simulator, 'a'), codexLogin(simulator, 'b')],
      profiles: OPENAI_PROFILE,
      order: ['openai-codex:a', 'openai-codex:b', KEY],
    })
  const MEANT = { from: 'openai-codex:a', to: KEY, reason: 'server_error' }

  it('is one for each call that was answered, from the profile it was meant for, in metrics, page, lists and headers', async () => {
    const w = await two()
    const failing = w.simulator.inject({ where: CODEX_PATH, name: 'server_error_500' })
    for (let asked = 0; asked < 3; asked += 1)
      expect((await w.responses()).headers.get('x-gatewatch-billing-changed')).toBe('subscription -> metered')
    failing.remove()
    expect((await w.responses()).headers.get('x-gatewatch-billing-changed')).toBeNull()
    const { billingChanges, changedBilling, fallbacks } = await eventually(async () => {
      const answer = await data<FallbacksAnswer>(w, 'fallbacks')
      expect(answer.calls).toBe(4)
      return answer
    })
    expect(changedBilling).toBe(3)
    expect(billingChanges).toMatchObject([{ ...MEANT, count: 3 }])
    expect(fallbacks).toHaveLength(2)
    expect(await w.series('billingChanges')).toMatchObject([{ labels: { provider: 'openai-codex', ...MEANT }, value: 3 }])
    expect(sum(await w.series('fallbacks'))).toBe(6)
    expect((await w.ask('/ops/data/counts')).json.billingChanges).toMatchObject([{ ...MEANT, count: 3 }])
  })

  it('is none where the profile that is paid otherwise refuses the call too', async () => {
    const w = await two()
    w.simulator.inject({ where: 'provider', name: 'throttled_429' })
    const answer = await w.responses()
    expect(answer.status).toBe(429)
    expect(answer.headers.get('x-gatewatch-profile')).toBe(KEY)
    expect(answer.headers.get('x-gatewatch-billing-changed')).toBeNull()
    expect(await w.series('billingChanges')).toEqual([])
    const page = await eventually(async () => {
      const found = await data<FallbacksAnswer>(w, 'fallbacks')
      expect(found.calls).toBe(1)
      return found
    })
    expect(page).toMatchObject({ changedBilling: 0, billingChanges: [], notServed: 1, aborted: 0 })
  })

  it('has happened once the answer begins, whether its caller stays to the end or not', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name: 'server_error_500' })
    w.simulator.inject({ where: '/v1/responses', slowChunksMs: 60_000 })
    const gone = new AbortController()
    const answer = await fetch(`${w.url}/v1/responses`, { ...posted({ ...CALL, stream: true }), signal: gone.signal })
    expect(answer.headers.get('x-gatewatch-billing-changed')).toBe('subscription -> metered')
    gone.abort()
    const page = await eventually(async () => {
      const found = await data<FallbacksAnswer>(w, 'fallbacks')
      expect(found.calls).toBe(1)
      return found
    })
    expect(page).toMatchObject({ aborted: 1, notServed: 0, changedBilling: 1, billingChanges: [{ from: ME, to: KEY }] })
    expect(sum(await w.series('billingChanges'))).toBe(1)
  })
})
