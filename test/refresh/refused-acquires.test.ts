import { SpanStatusCode } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import { ATTR_ERROR_TYPE, ATTR_OUTCOME, SPAN_REFRESH } from '../../otel/semconv.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { PROFILE, world } from '../support/world.ts'

describe('a grant that is dead', () => {
  async function deadWorld() {
    const w = await world()
    const grant = await w.signIn()
    w.simulator.revoke(grant.refresh)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' })
    expect(w.tokenRequests()).toBe(1)
    return w
  }

  it('is remembered: later acquisitions are refused and nothing is sent', async () => {
    const w = await deadWorld()
    const acquisitions = Array.from({ length: 20 }, () => w.gate.acquire(w.acquire({ reason: 'forced' })).catch((error: unknown) => error))
    for (const error of await Promise.all(acquisitions)) expect(error).toMatchObject({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' })
    expect(w.tokenRequests()).toBe(1)
    expect(w.spans(SPAN_REFRESH)).toHaveLength(1)
    const profile = await w.store.read(PROFILE)
    expect(profile?.needsLogin).toMatchObject({ outcome: 'invalidated', providerCode: 'refresh_token_invalidated' })
    expect(profile?.pending).toBeUndefined()
    expect(profile && w.gate.stateOf(profile)).toBe('needs_login')
  })

  it('is remembered over a restart', async () => {
    const w = await deadWorld()
    await expect(w.anotherGate().acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    expect(w.tokenRequests()).toBe(1)
  })

  it('lives again with a new login', async () => {
    const w = await deadWorld()
    const { refresh, access, expiresAt } = w.simulator.grantFor({ provider: 'openai-codex', account: 'acct-1', firstAccessLifeMs: -1 })
    // A login may leave what was noted about the old grant; it speaks of another refresh token.
    await w.store.change(
      PROFILE,
      current => current && { ...current, credential: { type: 'oauth', access, refresh, expiresAt, generation: 0 } },
    )
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    expect((await w.store.read(PROFILE))?.needsLogin).toBeUndefined()
  })

  it('may be tried again by an operator', async () => {
    const w = await deadWorld()
    await expect(w.gate.acquire(w.acquire({ reason: 'operator' }))).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    expect(w.tokenRequests()).toBe(2)
  })

  it('still serves while its access token is good', async () => {
    const w = await world()
    const { refresh, access } = await w.signIn('expiring')
    w.simulator.inject({ where: 'token', name: 'refresh_token_invalidated' })
    for (const expected of [{ outcome: 'invalidated' }, {}]) {
      const acquireResult = await w.gate.acquire(w.acquire({ reason: 'expiring' }))
      expect(acquireResult).toMatchObject({ decision: 'reuse', profile: { credential: { access, refresh } }, ...expected })
    }
    expect(w.tokenRequests()).toBe(1)
  })
})

describe('a refresh that fails for now', () => {
  it('is not tried again at once, by anybody but an operator; with time it is', async () => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', name: 'unavailable_503', times: 2 })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED', next: 'try_again_later' })
    const storm = await Promise.all(Array.from({ length: 20 }, () => w.gate.acquire(w.acquire()).catch((error: unknown) => error)))
    // The first pause is a second, its upper half spread by chance; chance is 0.5 here.
    for (const error of storm)
      expect(error).toMatchObject({ code: 'GW_REFRESH_BACKOFF', retryAfterMs: 750, cause: { code: 'GW_REFRESH_FAILED' } })
    expect(w.tokenRequests()).toBe(1)
    await expect(w.gate.acquire(w.acquire({ reason: 'operator' }))).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
    w.clock.advance(1_499)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_BACKOFF', retryAfterMs: 1 })
    w.clock.advance(1)
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ outcome: 'rotated' })
    expect(w.tokenRequests()).toBe(3)
  })

  // Seen: a new login whose first refresh failed waited as long as the login before it had come to wait, up to a minute.
  // Why: the failures were counted by the profile's name. Fix: a failure of other tokens is not counted. Issue 22, E5.
  it('begins with the shortest pause again after a new login', async () => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', name: 'unavailable_503' })
    for (let failure = 0; failure < 5; failure += 1) {
      await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
      w.clock.advance(60_000)
    }
    await w.signIn()
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_BACKOFF', retryAfterMs: 750 })
  })

  it('waits as long as the provider asks for', async () => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', name: 'throttled_429', headers: { 'retry-after': '40' }, times: 1 })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED', retryAfterMs: 40_000 })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_BACKOFF', retryAfterMs: 40_000 })
    w.clock.advance(40_000)
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ outcome: 'rotated' })
  })

  it('does not stop a caller whose token still works', async () => {
    const w = await world()
    const { access } = await w.signIn('expiring')
    w.simulator.inject({ where: 'token', name: 'unavailable_503' })
    const inBackoff = { decision: 'reuse', profile: { credential: { access } } }
    expect(await w.gate.acquire(w.acquire({ reason: 'expiring' }))).toMatchObject({ ...inBackoff, outcome: 'unavailable' })
    expect(await w.gate.acquire(w.acquire({ reason: 'expiring' }))).toMatchObject(inBackoff)
    expect(w.tokenRequests()).toBe(1)
    w.clock.advance(61_000)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
  })

  it('is a failed refresh, if throttled, only where its caller has no token that works', async () => {
    const w = await world()
    await w.signIn('expiring')
    w.simulator.inject({ where: 'token', name: 'throttled_429' })
    expect(await w.gate.acquire(w.acquire({ reason: 'expiring' }))).toMatchObject({ decision: 'reuse', outcome: 'throttled' })
    const [harmless] = w.spans(SPAN_REFRESH)
    expect(harmless?.attributes).toMatchObject({ [ATTR_OUTCOME]: 'throttled' })
    expect(harmless?.attributes).not.toHaveProperty(ATTR_ERROR_TYPE)
    expect(harmless?.status.code).toBe(SpanStatusCode.UNSET)
    w.clock.advance(61_000)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
    expect(w.spans(SPAN_REFRESH)[1]?.attributes).toMatchObject({ [ATTR_OUTCOME]: 'throttled', [ATTR_ERROR_TYPE]: 'throttled' })
  })

  it('stops an operator, and a caller whose token was rejected', async () => {
    const w = await world()
    const { access } = await w.signIn('expiring')
    w.simulator.inject({ where: 'token', name: 'unavailable_503' })
    await expect(w.gate.acquire(w.acquire({ reason: 'operator' }))).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
    const rejected = fingerprint(access) ?? ''
    await expect(w.gate.acquire(w.acquire({ reason: 'rejected', rejected }))).rejects.toMatchObject({ code: 'GW_REFRESH_BACKOFF' })
  })
})
