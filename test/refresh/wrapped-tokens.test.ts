import { describe, expect, it } from 'vitest'
import {
  ATTR_CREDENTIAL_GENERATION,
  ATTR_OUTCOME,
  ATTR_REFRESH_FINGERPRINT_AFTER,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REPLAY,
  EVENT_REPLAY,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import type { WrapRefreshOptions } from '../../src/refresh/wrap-refresh.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { atTheEnd, observed } from '../support/gateway-world.ts'

interface Answer {
  readonly access_token: string
  readonly refresh_token?: string
  readonly expires_in: number
}
type Refresh = (refreshToken: string) => Promise<Answer | undefined>

/** An application that keeps the tokens of one login itself, and refreshes them at a simulated provider. */
async function world(options: Partial<WrapRefreshOptions<Refresh>> = { tokens: tokensOf }) {
  const simulator = await startSimulator()
  atTheEnd(() => simulator.stop())
  const grant = simulator.grantFor({ provider: 'acme', account: 'me' })
  const tokenUrl = simulator.url + TOKEN_PATHS.plain
  const faults: unknown[] = []
  const watch = await startGatewatch({ environment: {}, onError: fault => faults.push(fault) })
  atTheEnd(() => watch.close())
  const send: Refresh = async refreshToken => {
    const answer = await fetch(tokenUrl, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'our-gateway' }),
    })
    return answer.ok ? ((await answer.json()) as Answer) : undefined
  }
  const refresh = watch.wrapRefresh(send, { provider: 'acme', profile: 'acme:me', tokenUrl, reason: 'expired', ...options })
  const telemetry = observed(watch)
  const value = async (key: 'tokenExpiry' | 'generation') => (await telemetry.series(key)).map(series => series.value)
  const snapshot = async () => (await watch.profiles())[0]
  return { watch, simulator, first: grant.refresh ?? '', send, refresh, faults, value, snapshot, ...telemetry }
}

function tokensOf(result: Answer | undefined) {
  return result && { accessToken: result.access_token, refreshToken: result.refresh_token, expiresInS: result.expires_in }
}

describe('the tokens of a wrapped refresh', () => {
  it('have expiry, age, generation and state', async () => {
    const w = await world()
    const answer = await w.refresh(w.first)
    const left = Math.round(Date.now() / 1000) + (answer?.expires_in ?? 0) - ((await w.value('tokenExpiry'))[0] ?? 0)
    expect(Math.abs(left)).toBeLessThan(30)
    expect(await w.value('generation')).toEqual([1])
    expect(await w.snapshot()).toMatchObject({
      profile: 'acme:me',
      provider: 'acme',
      type: 'oauth',
      state: 'ready',
      generation: 1,
      serves: true,
    })
    expect(await w.labels('tokenAge')).toEqual([])
    await w.refresh(answer?.refresh_token ?? '')
    expect(await w.value('generation')).toEqual([2])
    expect(await w.labels('tokenAge')).toEqual([{ provider: 'acme', profile: 'acme:me', reason: 'expired' }])
    // Whether the other profiles of the provider serve is not known.
    expect(await w.labels('profileServes')).toEqual([])
    expect(w.faults).toEqual([])
  })

  it('are on the spans by fingerprint, from which to which', async () => {
    const w = await world()
    const second = (await w.refresh(w.first))?.refresh_token
    await w.refresh(second ?? '')
    const spans = w.spans(SPAN_REFRESH).map(({ attributes }) => attributes)
    expect(spans).toMatchObject([
      { [ATTR_REFRESH_FINGERPRINT_BEFORE]: fingerprint(w.first), [ATTR_REFRESH_FINGERPRINT_AFTER]: fingerprint(second) },
      { [ATTR_REFRESH_FINGERPRINT_BEFORE]: fingerprint(second), [ATTR_CREDENTIAL_GENERATION]: 1 },
    ])
    const shown = JSON.stringify([w.spans(), await w.watch.profiles(), (await w.watch.metrics()).body])
    for (const token of [w.first, second ?? '']) expect(shown).not.toContain(token)
  })

  it('sent again after they were rotated away are a replay, and a login that is refused for it needs a login until one is noted', async () => {
    const w = await world()
    await w.refresh(w.first)
    await w.refresh(w.first)
    const spans = w.spans(SPAN_REFRESH)
    expect(spans.map(({ attributes }) => attributes[ATTR_REPLAY])).toEqual([undefined, true])
    expect(spans[1]?.events.map(({ name }) => name)).toContain(EVENT_REPLAY)
    expect(await w.labels('replays')).toMatchObject([{ provider: 'acme', profile: 'acme:me' }])
    expect(await w.snapshot()).toMatchObject({
      state: 'needs_login',
      serves: false,
      whyNot: 'needs_login',
      needsLogin: { outcome: 'invalidated' },
    })
    w.watch.noteLogin({ profile: 'acme:me', provider: 'acme' })
    expect(await w.snapshot()).toMatchObject({ state: 'ready', generation: 0 })
    w.watch.noteLogout({ profile: 'acme:me', provider: 'acme' })
    expect(await w.watch.profiles()).toEqual([])
  })

  it('are known where nothing says them, as far as the requests show: a replay past the gate too', async () => {
    const w = await world({})
    await w.refresh(w.first)
    await w.send(w.first)
    expect(await w.labels('replays')).toMatchObject([{ profile: 'acme:me' }])
    const [, bypass] = w.spans(SPAN_REFRESH)
    expect(bypass?.attributes).toMatchObject({ [ATTR_REPLAY]: true, [ATTR_OUTCOME]: 'invalidated' })
    // Profiles are shown where the application reports them.
    expect(await w.watch.profiles()).toEqual([])
    expect(await w.labels('profileState')).toEqual([])
  })

  it('that were already there age on: a call that sends nothing rotates nothing', async () => {
    const w = await world()
    const cached = { access_token: 'cached-access', refresh_token: w.first, expires_in: 3_600 }
    const cachedRefresh = w.watch.wrapRefresh(async () => cached, {
      provider: 'acme',
      profile: 'acme:me',
      tokenUrl: `${w.simulator.url}${TOKEN_PATHS.plain}`,
      tokens: tokensOf,
    })
    await cachedRefresh()
    await cachedRefresh()
    expect(w.spans(SPAN_REFRESH).map(({ attributes }) => attributes[ATTR_OUTCOME])).toEqual(['reused', 'reused'])
    expect(await w.value('generation')).toEqual([0])
    expect(await w.labels('tokenAge')).toEqual([])
    // What another process has rotated meanwhile shows by the token that comes.
    Object.assign(cached, { access_token: 'newer-access', refresh_token: 'newer-refresh-0123456789' })
    await cachedRefresh()
    expect(await w.value('generation')).toEqual([1])
    await w.refresh(w.first)
    expect(await w.labels('replays')).toHaveLength(1)
  })

  it('are taken with those that observeProfiles reads', async () => {
    const w = await world()
    w.watch.observeProfiles(() => [{ profile: 'acme:me', provider: 'acme', billing: 'subscription' }])
    await w.refresh(w.first)
    expect(await w.watch.profiles()).toMatchObject([{ profile: 'acme:me', billing: 'subscription', state: 'ready', generation: 1 }])
    expect(await w.labels('profileServes')).toEqual([{ provider: 'acme', profile: 'acme:me' }])
  })

  it.each<[string, unknown, RegExp]>([
    [
      'an expiry in seconds',
      { expiresAt: 1_790_000_000 },
      /expiresAt is a value of type number, allowed: epoch milliseconds \(not seconds\)/,
    ],
    ['a token that is none', { refreshToken: 7 }, /refreshToken is a value of type number, allowed: a string/],
  ])('%s are reported, and the result is given', async (_what, tokens, message) => {
    const w = await world({ tokens: () => tokens as never })
    expect(await w.refresh(w.first)).toMatchObject({ access_token: expect.any(String) })
    expect(w.faults).toEqual([expect.objectContaining({ code: 'GW_CONFIG', message: expect.stringMatching(message) })])
  })

  it('that cannot be read are reported, and the result is given', async () => {
    const fault = new RangeError('x')
    const w = await world({
      tokens: () => {
        throw fault
      },
    })
    expect(await w.refresh(w.first)).toMatchObject({ access_token: expect.any(String) })
    expect(w.faults).toEqual([fault])
  })
})
