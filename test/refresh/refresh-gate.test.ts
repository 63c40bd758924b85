import { describe, expect, it } from 'vitest'
import { ATTR_ACQUISITIONS, ATTR_CALLER, ATTR_DECISION, ATTR_OUTCOME, ATTR_REASON, SPAN_ACQUIRE, SPAN_REFRESH } from '../../otel/semconv.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { callerAt, credentialOf, PROFILE, profileOf, type World, world } from '../support/world.ts'

/** Holds the token endpoint's answer back until `answer` is called; `asked` resolves when a request is there. */
function heldBack() {
  const asked = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  const onTokenRequest = (step: string) => {
    if (step !== 'received') return undefined
    asked.resolve()
    return held.promise
  }
  return { simulator: { onTokenRequest }, asked: asked.promise, answer: () => held.resolve() }
}

const decisions = (w: World) => w.spans(SPAN_ACQUIRE).map(span => span.attributes[ATTR_DECISION])

describe('many acquisitions at once', () => {
  it('fifty callers cause one token request, and all get its token', async () => {
    const w = await world()
    await w.signIn()
    const admissions = await Promise.all(Array.from({ length: 50 }, () => w.gate.acquire(w.acquire())))
    expect(w.tokenRequests()).toBe(1)
    const { access } = await w.stored()
    expect(new Set(admissions.map(({ profile }) => credentialOf(profile).access))).toEqual(new Set([access]))
    expect(admissions.map(({ decision, outcome }) => `${decision} ${outcome}`)).toEqual([
      'lead rotated',
      ...Array.from({ length: 49 }, () => 'join rotated'),
    ])
  })

  it('each is seen with its own caller and reason, and the refresh is linked to all of them and they to it', async () => {
    const w = await world()
    await w.signIn()
    const callers = Array.from({ length: 12 }, (_, index) => ({
      caller: callerAt(`caller${index}`),
      reason: index % 2 ? ('forced' as const) : ('expired' as const),
    }))
    await Promise.all(callers.map(acquisition => w.gate.acquire(w.acquire(acquisition))))
    const acquisitions = w.spans(SPAN_ACQUIRE)
    const refresh = w.span(SPAN_REFRESH)
    expect(acquisitions.map(({ attributes }) => `${attributes[ATTR_CALLER]} ${attributes[ATTR_REASON]}`).sort()).toEqual(
      callers.map(({ caller, reason }) => `${caller.label} ${reason}`).sort(),
    )
    expect(refresh.links.map(({ context }) => context.spanId).sort()).toEqual(acquisitions.map(span => span.spanContext().spanId).sort())
    expect(refresh.attributes).toMatchObject({ [ATTR_ACQUISITIONS]: 12, [ATTR_CALLER]: 'app/agent.ts#caller0', [ATTR_OUTCOME]: 'rotated' })
    for (const acquisition of acquisitions)
      expect(acquisition.links.map(({ context }) => context.spanId)).toEqual([refresh.spanContext().spanId])
  })

  it('refreshes of two profiles do not wait for each other', async () => {
    const w = await world()
    await w.signIn()
    const other = w.simulator.grantFor({ provider: 'openai-codex', account: 'acct-2', firstAccessLifeMs: -1 })
    await w.store.change('openai-codex:team', () => profileOf(other, {}, 'openai-codex:team'))
    const [mine, theirs] = await Promise.all([w.gate.acquire(w.acquire()), w.gate.acquire(w.acquire({ profileId: 'openai-codex:team' }))])
    expect([mine.decision, theirs.decision]).toEqual(['lead', 'lead'])
    expect(w.tokenRequests()).toBe(2)
  })

  it('two gates over one store send one token request; the second adopts what the first brought', async () => {
    const w = await world()
    await w.signIn()
    const second = w.anotherGate()
    const admissions = await Promise.all([w.gate.acquire(w.acquire()), second.acquire(w.acquire())])
    expect(w.tokenRequests()).toBe(1)
    expect(admissions.map(({ decision, outcome }) => `${decision} ${outcome}`).sort()).toEqual(['adopt reused', 'lead rotated'])
  })
})

describe('reuse beats refresh', () => {
  it('a forced acquisition with a usable token gets that token, and is recorded as forced', async () => {
    const w = await world()
    const { access } = await w.signIn('usable')
    const acquireResult = await w.gate.acquire(w.acquire({ reason: 'forced' }))
    expect(acquireResult).toMatchObject({ decision: 'reuse', profile: { credential: { access } } })
    expect(w.tokenRequests()).toBe(0)
    expect(w.spans(SPAN_REFRESH)).toEqual([])
    expect(w.span(SPAN_ACQUIRE).attributes).toMatchObject({ [ATTR_REASON]: 'forced', [ATTR_DECISION]: 'reuse' })
  })

  it('where policy lets force refresh, it does', async () => {
    const w = await world({ options: { forced: 'refresh' } })
    await w.signIn('usable')
    expect(await w.gate.acquire(w.acquire({ reason: 'forced' }))).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    expect(await w.gate.acquire(w.acquire({ reason: 'scheduled' }))).toMatchObject({ decision: 'reuse' })
    expect(w.tokenRequests()).toBe(1)
  })

  it('a rejected token that is not the stored one any more: the newer one is adopted and nothing is sent', async () => {
    const w = await world()
    const { access } = await w.signIn('usable')
    const rejected = fingerprint('the token of before') ?? ''
    expect(await w.gate.acquire(w.acquire({ reason: 'rejected', rejected }))).toMatchObject({
      decision: 'adopt',
      profile: { credential: { access } },
    })
    expect(w.tokenRequests()).toBe(0)
  })

  it('a rejected token that is the stored one is refreshed, however long it says it is good', async () => {
    const w = await world()
    const { access } = await w.signIn('usable')
    const rejected = fingerprint(access) ?? ''
    const acquireResult = await w.gate.acquire(w.acquire({ reason: 'rejected', rejected }))
    expect(acquireResult).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    expect(credentialOf(acquireResult.profile).access).not.toBe(access)
  })

  it('a refresh under way that brings the very token a caller rejected does not do for him: he flies', async () => {
    const w = await world()
    await w.signIn()
    const { release } = await w.store.lease(PROFILE, { waitMs: 0 })
    const leading = w.gate.acquire(w.acquire())
    // Another process stores a newer token, which the provider rejects at once, while our refresh waits for the lease.
    const { access } = await w.signIn('usable')
    const rejected = fingerprint(access) ?? ''
    const rejecting = Promise.all([0, 1].map(() => w.gate.acquire(w.acquire({ reason: 'rejected', rejected }))))
    await release()
    expect(await leading).toMatchObject({ decision: 'adopt', outcome: 'reused', profile: { credential: { access } } })
    expect((await rejecting).map(({ decision, outcome }) => `${decision} ${outcome}`)).toEqual(['lead rotated', 'join rotated'])
    expect(w.tokenRequests()).toBe(1)
  })

  it('who flies after a refresh that did not do for him waits no longer in all than he said', async () => {
    const back = heldBack()
    const w = await world({ simulator: back.simulator })
    await w.signIn()
    const { release } = await w.store.lease(PROFILE, { waitMs: 0 })
    const leading = w.gate.acquire(w.acquire())
    const { access } = await w.signIn('usable')
    const rejecting = w.gate.acquire(w.acquire({ reason: 'rejected', rejected: fingerprint(access) ?? '', deadlineMs: 600_000 }))
    const refused = expect(rejecting).rejects.toMatchObject({ code: 'GW_ACQUIRE_TIMEOUT' })
    await w.gate.current(PROFILE) // by now he has joined
    w.clock.advance(600_000)
    await release()
    await leading
    await refused
    back.answer()
  })
})

describe('a caller who leaves', () => {
  it('the one that led ends no other caller: the refresh goes on and the others get its token', async () => {
    const back = heldBack()
    const w = await world({ simulator: back.simulator })
    await w.signIn()
    const primary = new AbortController()
    const leading = w.gate.acquire(w.acquire({ signal: primary.signal }))
    const joining = Promise.all([w.gate.acquire(w.acquire()), w.gate.acquire(w.acquire())])
    await back.asked
    primary.abort(new Error('closed the window'))
    await expect(leading).rejects.toMatchObject({ code: 'GW_ACQUIRE_ABORTED', cause: { message: 'closed the window' } })
    expect(decisions(w)).toEqual(['lead'])
    back.answer()
    expect((await joining).map(({ decision, outcome }) => `${decision} ${outcome}`)).toEqual(['join rotated', 'join rotated'])
    expect(w.tokenRequests()).toBe(1)
    expect(w.span(SPAN_REFRESH).links).toHaveLength(3)
  })

  it('who was alone has the refresh end all the same: its token is stored', async () => {
    const back = heldBack()
    const w = await world({ simulator: back.simulator })
    await w.signIn()
    const primary = new AbortController()
    const leading = w.gate.acquire(w.acquire({ signal: primary.signal }))
    await back.asked
    primary.abort()
    await expect(leading).rejects.toMatchObject({ code: 'GW_ACQUIRE_ABORTED' })
    back.answer()
    await w.gate.settled()
    expect(await w.stored()).toMatchObject({ generation: 1 })
    expect(w.span(SPAN_REFRESH).attributes[ATTR_OUTCOME]).toBe('rotated')
  })

  it('that had left before it came starts no refresh', async () => {
    const w = await world()
    await w.signIn()
    await expect(w.gate.acquire(w.acquire({ signal: AbortSignal.abort() }))).rejects.toMatchObject({ code: 'GW_ACQUIRE_ABORTED' })
    await w.gate.settled()
    expect(w.spans(SPAN_REFRESH)).toEqual([])
    expect(w.tokenRequests()).toBe(0)
  })

  it('whose deadline passes stops waiting; the refresh goes on', async () => {
    const back = heldBack()
    const w = await world({ simulator: back.simulator })
    await w.signIn()
    await expect(w.gate.acquire(w.acquire({ deadlineMs: 5 }))).rejects.toMatchObject({
      code: 'GW_ACQUIRE_TIMEOUT',
      next: 'try_again_later',
    })
    back.answer()
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ profile: { credential: { generation: 1 } } })
    expect(w.tokenRequests()).toBe(1)
  })

  it('whose deadline passes while its token still works uses that', async () => {
    const back = heldBack()
    const w = await world({ simulator: back.simulator })
    const { access } = await w.signIn('expiring')
    expect(await w.gate.acquire(w.acquire({ reason: 'expiring', deadlineMs: 5 }))).toMatchObject({
      decision: 'reuse',
      profile: { credential: { access } },
    })
    back.answer()
  })
})

describe('a profile the gate cannot refresh', () => {
  it.each([
    ['is not in the store', undefined],
    ['holds an API key', { id: PROFILE, provider: 'openai', credential: { type: 'api_key', key: 'k' } } as const],
  ])('because it %s: refused, and no token request', async (_, profile) => {
    const w = await world()
    await w.store.change(PROFILE, () => profile)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_PROFILE_UNKNOWN', next: 'add_profile' })
    expect(w.tokenRequests()).toBe(0)
  })

  it('is not named in clear: its id holds an e-mail address', async () => {
    const w = await world()
    const error = await w.gate.acquire(w.acquire()).catch((caught: unknown) => caught)
    expect(String(error)).toContain(w.telemetry.profile(PROFILE))
    expect(String(error)).not.toContain('me@example.com')
  })
})

describe('what a profile can do', () => {
  it.each([
    ['a usable token', 'usable', 'ready'],
    ['an expiring one', 'expiring', 'expiring'],
    ['an expired one', 'expired', 'expired'],
  ] as const)('with %s', async (_, life, state) => {
    const w = await world()
    await w.signIn(life)
    const profile = await w.gate.current(PROFILE)
    expect(profile && w.gate.stateOf(profile)).toBe(state)
    expect(profile && w.gate.needs(profile)).toBe(state === 'ready' ? undefined : state)
  })

  it('without an access token, or with one that is not OAuth’s', async () => {
    const w = await world()
    const stateOf = (credential: Parameters<typeof w.gate.stateOf>[0]['credential']) =>
      w.gate.stateOf({ id: 'p', provider: 'p', credential })
    expect(stateOf({ type: 'oauth', refresh: 'rt', generation: 0 })).toBe('missing_credential')
    expect(stateOf({ type: 'api_key', key: 'k' })).toBe('ready')
    expect(w.gate.needs({ id: 'p', provider: 'p', credential: { type: 'api_key', key: 'k' } })).toBeUndefined()
  })
})
