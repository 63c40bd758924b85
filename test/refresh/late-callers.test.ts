import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ATTR_DECISION, SPAN_ACQUIRE } from '../../otel/semconv.ts'
import { type WrapRefreshOptions, wrapRefresh } from '../../src/refresh/wrap-refresh.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

// Seen: a caller that asked for an old token to be replaced got the result of the last refresh whatever its age, even the
// same token again, and the token of one rotation ago at most. Why: the result was kept without a limit, by the last
// replaced token alone. Fix: only another token, for a minute, along the chain. Issue "1 of 6", point A4.

const MINUTE = 60_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

interface Tokens {
  access: string
}

/** A refresh function that brings the tokens of `brings` in turn, then `t1`, `t2` and so on, behind a gate. */
function world<R = Tokens>({
  brings = [],
  refresh: given,
  ...options
}: { brings?: R[]; refresh?: () => Promise<R> } & Partial<WrapRefreshOptions<(token?: string) => Promise<R>>> = {}) {
  const observed = observedTelemetry()
  let calls = 0
  const next = () => (calls <= brings.length ? (brings[calls - 1] as R) : ({ access: `t${calls}` } as R))
  const refresh = wrapRefresh<(token?: string) => Promise<R>>(
    observed.telemetry,
    'https://auth.test/token',
    async () => {
      calls += 1
      return given ? given() : next()
    },
    { provider: 'acme', profile: () => 'acme:me', rejectedToken: access => access, ...options },
  )
  const decisions = () => observed.spans(SPAN_ACQUIRE).map(({ attributes }) => attributes[ATTR_DECISION])
  return { refresh, decisions, calls: () => calls }
}

/** A token that says itself when it expires. */
function jwt(expiresAt: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none' })}.${part({ exp: Math.floor(expiresAt / 1000) })}.signature`
}

describe('a caller that wants a token replaced which has just been replaced', () => {
  it('never gets an expired token for long, even when it goes on asking with the oldest one', async () => {
    const life = 5 * MINUTE
    const expiry = new Map<string, number>()
    const w = world({
      refresh: async () => {
        const access = `token-${expiry.size}`
        expiry.set(access, Date.now() + life)
        return { access }
      },
    })
    let expired = 0
    for (let second = 0; second < 3_600; second += 10) {
      const { access } = await w.refresh('the oldest')
      if ((expiry.get(access) ?? 0) <= Date.now()) expired += 1
      vi.advanceTimersByTime(10_000)
    }
    expect(expired).toBe(0)
    // Once a minute, not once for each of the 360 calls.
    expect(w.calls()).toBe(60)
  })

  it('gets the newest result along the whole chain of rotations', async () => {
    const w = world()
    expect(await w.refresh('t0')).toEqual({ access: 't1' })
    vi.advanceTimersByTime(50_000)
    expect(await w.refresh('t1')).toEqual({ access: 't2' })
    vi.advanceTimersByTime(50_000)
    expect(await w.refresh('t0')).toEqual({ access: 't2' })
    expect(await w.refresh('t1')).toEqual({ access: 't2' })
    expect(w.calls()).toBe(2)
    expect(w.decisions()).toEqual(['lead', 'lead', 'adopt', 'adopt'])
  })

  it('gets the newest result when a refresh between knew of no token to replace', async () => {
    const w = world()
    await w.refresh('t0')
    await w.refresh()
    expect([await w.refresh('t0'), await w.refresh('t1')]).toEqual([{ access: 't2' }, { access: 't2' }])
    expect(w.calls()).toBe(2)
  })

  it('starts a refresh when that result is a minute old', async () => {
    const w = world()
    await w.refresh('t0')
    vi.advanceTimersByTime(MINUTE - 1)
    expect(await w.refresh('t0')).toEqual({ access: 't1' })
    vi.advanceTimersByTime(1)
    expect(await w.refresh('t0')).toEqual({ access: 't2' })
  })

  it('starts a refresh after the machine slept, in which only the wall clock went on', async () => {
    const w = world()
    await w.refresh('t0')
    vi.setSystemTime(Date.now() + 8 * 60 * MINUTE)
    expect(await w.refresh('t0')).toEqual({ access: 't2' })
  })

  it('starts a refresh when the result holds the token that it wants replaced', async () => {
    const w = world({ brings: [{ access: 'same' }] })
    await w.refresh('same')
    expect(await w.refresh('same')).toEqual({ access: 't2' })
  })

  it('starts a refresh when a token that was replaced has come back', async () => {
    const w = world({ brings: [{ access: 'b' }, { access: 'a' }] })
    await w.refresh('a')
    await w.refresh('b')
    expect(await w.refresh('a')).toEqual({ access: 't3' })
  })

  it('starts a refresh when the token that the result holds says that it has expired', async () => {
    const w = world({ brings: [{ access: jwt(Date.now() + 12_000) }] })
    await w.refresh('t0')
    vi.advanceTimersByTime(11_000)
    await w.refresh('t0')
    expect(w.calls()).toBe(1)
    vi.advanceTimersByTime(2_000)
    await w.refresh('t0')
    expect(w.calls()).toBe(2)
  })

  it.each<[string, unknown, number]>([
    ['a string', 'fresh', 1],
    ['a field of its usual names', { access_token: 'fresh' }, 1],
    ['nowhere', undefined, 2],
    ['in a field of any name', { session: { bearer: 'fresh' } }, 2],
  ])('looks for the token of a result: %s', async (_where, result, calls) => {
    const w = world<unknown>({ brings: [result, result] })
    await w.refresh('t0')
    expect(await w.refresh('t0')).toEqual(result)
    expect(w.calls()).toBe(calls)
  })

  it('finds it where the option says it is', async () => {
    const w = world<{ session: { bearer: string } }>({
      brings: [{ session: { bearer: 'fresh' } }],
      accessToken: ({ session }) => session.bearer,
    })
    await w.refresh('t0')
    expect(await w.refresh('t0')).toEqual({ session: { bearer: 'fresh' } })
    expect(w.calls()).toBe(1)
  })

  it('that joined the refresh which brought this very token gets the next one', async () => {
    const answers = [Promise.withResolvers<Tokens>(), Promise.withResolvers<Tokens>()]
    let asked = 0
    const w = world({ refresh: () => answers[asked++]?.promise ?? Promise.reject(new Error('asked too often')) })
    const first = w.refresh('t0')
    // The application has stored t1 already, and the provider rejected it, before the first refresh's promise settles.
    const second = w.refresh('t1')
    answers[0]?.resolve({ access: 't1' })
    expect(await first).toEqual({ access: 't1' })
    answers[1]?.resolve({ access: 't2' })
    expect(await second).toEqual({ access: 't2' })
    expect(asked).toBe(2)
  })

  it('finds no credential that is older than a minute: it is let go, not only passed over', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const w = world()
    const held = new WeakRef(await w.refresh('t0'))
    vi.advanceTimersByTime(MINUTE)
    vi.useRealTimers()
    await expect
      .poll(() => {
        collect()
        return held.deref() === undefined
      })
      .toBe(true)
  })
})

describe('a refresh function that calls its wrapped self', () => {
  it.each([
    ['at once', async () => undefined],
    ['later', () => new Promise<void>(resolve => setImmediate(resolve))],
  ])('%s does not wait for itself', async (_when, pause) => {
    const { telemetry } = observedTelemetry()
    let calls = 0
    const refresh: (account: string) => Promise<string> = wrapRefresh(
      telemetry,
      'https://auth.test/token',
      async (account: string) => {
        calls += 1
        if (calls > 1) return 'from the second try'
        await pause()
        return refresh(account)
      },
      { provider: 'acme', profile: account => account },
    )
    expect(await refresh('acme:me')).toBe('from the second try')
    expect(calls).toBe(2)
  })
})

describe('a deadline', () => {
  it.each([-1, Number.NaN, '5' as never, null as never])('of %j is refused when the function is wrapped', deadlineMs => {
    expect(() => world({ timeoutMs: deadlineMs })).toThrow(
      /^wrapRefresh: timeoutMs is (?:the number|a value of type) .*, allowed: a number of milliseconds from 0$/,
    )
  })

  it('that is not set is a minute, however it is not set', async () => {
    const w = world({ timeoutMs: undefined as never, requests: undefined as never })
    expect(await w.refresh()).toEqual({ access: 't1' })
  })

  it('of 0 starts the refresh and does not wait for it', async () => {
    const answer = Promise.withResolvers<Tokens>()
    const w = world({ timeoutMs: 0, refresh: () => answer.promise })
    const impatient = expect(w.refresh()).rejects.toMatchObject({ code: 'GW_ACQUIRE_TIMEOUT' })
    await vi.advanceTimersByTimeAsync(1)
    await impatient
    expect(w.calls()).toBe(1)
    answer.resolve({ access: 't1' })
  })

  it('without an end waits on', async () => {
    const answer = Promise.withResolvers<Tokens>()
    const w = world({ timeoutMs: Number.POSITIVE_INFINITY, refresh: () => answer.promise })
    const patient = w.refresh()
    await vi.advanceTimersByTimeAsync(10 * MINUTE)
    answer.resolve({ access: 't1' })
    expect(await patient).toEqual({ access: 't1' })
  })
})
