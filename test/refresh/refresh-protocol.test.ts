import { describe, expect, it } from 'vitest'
import {
  ATTR_ACCOUNT_AFTER,
  ATTR_ACCOUNT_BEFORE,
  ATTR_ANSWER_TYPE,
  ATTR_CLOCK_SKEW,
  ATTR_ERROR_TYPE,
  ATTR_EXPIRES_IN_REPAIRED,
  ATTR_HAS_REFRESH,
  ATTR_HTTP_STATUS,
  ATTR_NEXT,
  ATTR_OUTCOME,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REFRESH_FINGERPRINT_AFTER,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REFRESH_RETAINED,
  ATTR_REPLAY,
  ATTR_REQUEST_USER_AGENT,
  ATTR_RETRY_AFTER,
  ATTR_TOKEN_AGE,
  EVENT_ANSWER_RECEIVED,
  EVENT_CREDENTIAL_RELOADED,
  EVENT_LEASE_HELD,
  EVENT_LEASE_REQUESTED,
  EVENT_PERSISTED,
  EVENT_PUBLISHED,
  EVENT_REPLAY,
  EVENT_REQUEST_SENT,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import type { RefreshStep } from '../../src/refresh/refresh-context.ts'
import { credentialOf, PROFILE, type World, world } from '../support/world.ts'

const HOUR = 3_600_000
const outcomes = (w: World) => w.spans(SPAN_REFRESH).map(({ attributes }) => attributes[ATTR_OUTCOME])

describe('a refresh that goes well', () => {
  it('reports each step before the next begins, and its events in the same order', async () => {
    const steps: [RefreshStep, number][] = []
    const w: World = await world({ onStep: step => steps.push([step, w.tokenRequests()]) })
    await w.signIn()
    await w.gate.acquire(w.acquire())
    expect(steps).toEqual([
      ['lease_held', 0],
      ['request_sent', 0],
      ['answer_received', 1],
      ['persisted', 1],
      ['published', 1],
    ])
    expect(w.span(SPAN_REFRESH).events.map(({ name }) => name)).toEqual([
      EVENT_LEASE_REQUESTED,
      EVENT_LEASE_HELD,
      EVENT_CREDENTIAL_RELOADED,
      EVENT_REQUEST_SENT,
      EVENT_ANSWER_RECEIVED,
      EVENT_PERSISTED,
      EVENT_PUBLISHED,
    ])
  })

  it('declares what it sends, and stores the rotated token before anybody sees it', async () => {
    const seen: unknown[] = []
    const pending = async () => (await w.store.read(PROFILE))?.pending
    const w: World = await world({
      simulator: {
        onTokenRequest: async step => {
          if (step === 'received') seen.push(await pending())
        },
      },
    })
    const { refresh } = await w.signIn()
    const { profile } = await w.gate.acquire(w.acquire())
    expect(seen).toEqual([{ refreshFingerprint: fingerprint(refresh), sentAt: w.clock.now(), pid: process.pid }])
    expect(await pending()).toBeUndefined()
    expect(await w.store.read(PROFILE)).toEqual(profile)
    expect(profile.rotatedAway).toEqual([fingerprint(refresh)])
  })

  it('says which token went out and which came back, how old the access token was, and how the provider answered', async () => {
    const w = await world()
    const { refresh } = await w.signIn('expired', { issuedAt: w.clock.now() - HOUR })
    const { profile } = await w.gate.acquire(w.acquire())
    const { attributes } = w.span(SPAN_REFRESH)
    expect(attributes).toMatchObject({
      [ATTR_REFRESH_FINGERPRINT_BEFORE]: fingerprint(refresh),
      [ATTR_REFRESH_FINGERPRINT_AFTER]: fingerprint(credentialOf(profile).refresh),
      [ATTR_REFRESH_RETAINED]: false,
      [ATTR_HTTP_STATUS]: 200,
    })
    expect(attributes[ATTR_TOKEN_AGE]).toBe(3600)
  })

  it('knows the rotated token as a rotated one at once', async () => {
    const w = await world()
    const { refresh } = await w.signIn()
    const { profile } = await w.gate.acquire(w.acquire())
    expect(w.gate.lineage.of(fingerprint(refresh) ?? '')).toEqual({ profileId: PROFILE, rotatedAway: true })
    expect(w.gate.lineage.of(fingerprint(credentialOf(profile).refresh) ?? '')).toEqual({ profileId: PROFILE, rotatedAway: false })
  })

  it.each(['expired', 'usable'] as const)(
    'an answer without a refresh token renews the access token, and the next refresh goes well (%s)',
    async life => {
      const w = await world()
      const { refresh } = await w.signIn(life)
      w.simulator.inject({ where: 'token', omit: ['refresh_token'], times: 1 })
      expect(await w.gate.acquire(w.acquire({ reason: 'operator' }))).toMatchObject({
        outcome: 'renewed',
        profile: { credential: { refresh, generation: 1 }, rotatedAway: [] },
      })
      expect(w.span(SPAN_REFRESH).attributes[ATTR_REFRESH_RETAINED]).toBe(true)
      expect(await w.gate.acquire(w.acquire({ reason: 'operator' }))).toMatchObject({ outcome: 'rotated' })
    },
  )
})

describe('the life of the token that came back', () => {
  it.each(['missing', 'zero', 'string', 'milliseconds'] as const)('expires_in %s is repaired, said, and does not loop', async expiresIn => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', expiresIn })
    const { profile } = await w.gate.acquire(w.acquire())
    const lifeMs = (credentialOf(profile).expiresAt ?? 0) - w.clock.now()
    expect(Math.abs(lifeMs - HOUR)).toBeLessThanOrEqual(3_000)
    expect(w.span(SPAN_REFRESH).attributes[ATTR_EXPIRES_IN_REPAIRED]).toBe(expiresIn)
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'reuse' })
    expect(w.tokenRequests()).toBe(1)
  })

  it.each([
    ['ahead', 600_000, 600],
    ['behind', -600_000, -600],
  ])('a provider whose clock is %s is seen', async (_, dateSkewMs, seconds) => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', dateSkewMs })
    await w.gate.acquire(w.acquire())
    expect(Math.abs(Number(w.span(SPAN_REFRESH).attributes[ATTR_CLOCK_SKEW]) - seconds)).toBeLessThanOrEqual(3)
  })
})

describe('a credential that lost its refresh token', () => {
  it.each([
    ['missing', {}],
    ['empty', { refresh: '' }],
    ['blank', { refresh: ' \n' }],
    ['the word undefined', { refresh: 'undefined' }],
    ['the word null', { refresh: 'null' }],
  ])('%s: nothing is ever sent, and it is remembered as malformed', async (_, refresh) => {
    const w = await world()
    const { access, expiresAt } = await w.signIn()
    await w.store.change(
      PROFILE,
      current => current && { ...current, credential: { type: 'oauth', access, expiresAt, generation: 3, ...refresh } },
    )
    for (const gate of [w.gate, w.gate, w.anotherGate()]) {
      await expect(gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' })
    }
    expect(w.tokenRequests()).toBe(0)
    expect(outcomes(w)).toEqual(['malformed'])
    const reloaded = w.span(SPAN_REFRESH).events.find(({ name }) => name === EVENT_CREDENTIAL_RELOADED)
    expect(reloaded?.attributes?.[ATTR_HAS_REFRESH]).toBe(Boolean((refresh as { refresh?: string }).refresh))
  })
})

describe('an answer for another account', () => {
  it('is not stored: the profile needs a login, and no caller asks again', async () => {
    const w = await world()
    const { access } = await w.signIn()
    w.simulator.inject({ where: 'token', switchAccountTo: 'acct-of-another-user' })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    expect(await w.stored()).toMatchObject({ access, account: 'acct-1', generation: 0 })
    expect((await w.store.read(PROFILE))?.needsLogin?.outcome).toBe('identity_mismatch')
    expect(w.tokenRequests()).toBe(1)
    expect(w.span(SPAN_REFRESH).attributes).toMatchObject({
      [ATTR_ACCOUNT_BEFORE]: fingerprint('acct-1'),
      [ATTR_ACCOUNT_AFTER]: fingerprint('acct-of-another-user'),
    })
  })
})

describe('a refusal for now', () => {
  it.each([
    ['of the endpoint', { name: 'throttled_429', headers: { 'retry-after': '7' } }, 'application/json', 7],
    ['of a firewall in front of it', { name: 'cloudflare_html_403' }, 'text/html', undefined],
  ] as const)(
    '%s is reported with its content type, with the wait it asks for, and with what we called ourselves',
    async (_, effect, type, wait) => {
      const w = await world()
      await w.signIn()
      w.simulator.inject({ where: 'token', ...effect })
      await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
      const { attributes } = w.span(SPAN_REFRESH)
      expect([attributes[ATTR_ANSWER_TYPE], attributes[ATTR_RETRY_AFTER]]).toEqual([type, wait])
      expect(attributes[ATTR_REQUEST_USER_AGENT]).toBe(fingerprint('gatewatch'))
    },
  )
})

describe('an answer that was lost', () => {
  it.each([
    ['the connection is reset after the rotation', { resetAfterCommit: true }, 'unavailable', 'ECONNRESET', {}],
    // The endpoint must have the first request, and answer the second, within this time.
    [
      'the endpoint is silent after the rotation',
      { hangAfterCommit: true },
      'timeout',
      'TimeoutError',
      { requestTimeoutMs: 2_000, listenMs: 2_000 },
    ],
    ['the answer breaks off in the middle', { invalidJson: true }, 'unreadable', 'answer_not_json', {}],
  ])('%s: the next refresh says lost, once, with what to do; then nothing is sent', async (_, effect, first, errorType, options) => {
    const w = await world({ options })
    await w.signIn()
    w.simulator.inject({ where: 'token', times: 1, ...effect })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED', next: 'try_again_later' })
    w.clock.advance(60_000)
    const error = await w.gate.acquire(w.acquire()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' })
    expect(String(error)).toMatch(new RegExp(`process ${process.pid} sent the refresh token at \\d{4}-.*Sign in again`))
    for (const gate of [w.gate, w.anotherGate()]) {
      await expect(gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' })
    }
    expect(outcomes(w)).toEqual([first, 'lost'])
    expect(w.spans(SPAN_REFRESH)[0]?.attributes[ATTR_ERROR_TYPE]).toBe(errorType)
    expect(w.tokenRequests()).toBe(2)
    expect(w.spans(SPAN_REFRESH)[1]?.attributes).toMatchObject({
      [ATTR_REPLAY]: true,
      [ATTR_PROVIDER_ERROR_CODE]: 'refresh_token_reused',
      [ATTR_NEXT]: 'sign_in_again',
    })
    expect(w.spans(SPAN_REFRESH)[1]?.events.map(({ name }) => name)).toContain(EVENT_REPLAY)
  })

  it.each([
    ['the connection was reset before anything was done', { resetBeforeCommit: true }],
    ['a proxy in front of it answered 502', { name: 'bad_gateway_html_502' }],
    ['it was throttled', { name: 'throttled_429', headers: { 'retry-after': '1' } }],
  ] as const)('is not what happened when %s: the next refresh rotates', async (_, effect) => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', times: 1, ...effect })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
    w.clock.advance(60_000)
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ outcome: 'rotated' })
    expect((await w.store.read(PROFILE))?.pending).toBeUndefined()
  })

  it('is not what a revoked grant is called when the request before was refused for now', async () => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', times: 1, name: 'throttled_429', headers: { 'retry-after': '1' } })
    w.simulator.inject({ where: 'token', name: 'refresh_token_invalidated' })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
    w.clock.advance(60_000)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    expect(outcomes(w)).toEqual(['throttled', 'invalidated'])
  })

  it('is still what happened when the request after it was only throttled', async () => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', times: 1, resetAfterCommit: true })
    w.simulator.inject({ where: 'token', times: 1, name: 'throttled_429', headers: { 'retry-after': '1' } })
    for (const code of ['GW_REFRESH_FAILED', 'GW_REFRESH_FAILED', 'GW_NEEDS_LOGIN']) {
      await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code })
      w.clock.advance(60_000)
    }
    expect(outcomes(w)).toEqual(['unavailable', 'throttled', 'lost'])
  })

  it('is not what is feared when no server listened at the address', async () => {
    const w = await world()
    await w.signIn()
    await w.simulator.stop()
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
    expect(w.span(SPAN_REFRESH).attributes).toMatchObject({ [ATTR_OUTCOME]: 'unavailable', [ATTR_ERROR_TYPE]: 'ECONNREFUSED' })
    expect((await w.store.read(PROFILE))?.pending).toBeUndefined()
  })
})

describe('a user signs in while the answer is on its way', () => {
  it('their login stays, and serves', async () => {
    const w: World = await world({
      simulator: {
        onTokenRequest: async step => {
          if (step === 'committed') await w.signIn('usable')
        },
      },
    })
    await w.signIn()
    const acquireResult = await w.gate.acquire(w.acquire())
    expect(acquireResult).toMatchObject({ decision: 'adopt', outcome: 'reused', profile: { credential: { generation: 0 } } })
    expect(await w.stored()).toEqual(credentialOf(acquireResult.profile))
  })
})
