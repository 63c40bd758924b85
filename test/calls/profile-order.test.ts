import { describe, expect, it } from 'vitest'
import { pathOf } from '../../src/calls/endpoint.ts'
import { type OrderQuestion, orderProfiles } from '../../src/calls/profile-order.ts'
import type { Credential, StoredProfile } from '../../src/domain/credential.ts'
import type { SkipReason } from '../../src/domain/enums.ts'
import { createRegistry } from '../../src/providers/registry.ts'

const NOW = 1_900_000_000_000
const registry = createRegistry({ corp: { baseUrl: 'http://127.0.0.1:9/v1' } })
const key: Credential = { type: 'api_key', key: 'sk-1' }
const oauth: Credential = { type: 'oauth', access: 'at', refresh: 'rt', expiresAt: NOW + 1e6, generation: 0 }
const token: Credential = { type: 'token', token: 'tok' }

function profile(id: string, credential: Credential, more: Partial<StoredProfile> = {}): StoredProfile {
  return { id, provider: id.split(':')[0] ?? id, credential, ...more }
}

/** Asks for the order, and gives the ids. */
function order(
  profiles: readonly StoredProfile[],
  more: Partial<OrderQuestion> & { resting?: string[]; paused?: string[]; refused?: string[]; dead?: string[]; used?: string[] } = {},
) {
  const { resting = [], paused = [], refused = [], dead = [], used = [], ...question } = more
  const { candidates, skipped, preferred } = orderProfiles({
    profiles,
    providerOf: id => registry.all().find(provider => provider.id === id),
    protocol: 'responses',
    metered: 'allow',
    restOf: ({ id }) => (resting.includes(id) ? { because: 'rate_limit', waitMs: 1000 } : undefined),
    pauseOf: ({ id }) => (paused.includes(id) ? { because: 'unavailable', waitMs: 1000 } : undefined),
    isRefused: ({ id }) => refused.includes(id),
    isDead: ({ id }) => dead.includes(id),
    lastUsed: id => used.indexOf(id) + 1,
    now: NOW,
    ...question,
  })
  return {
    tries: candidates.map(candidate => candidate.profile.id),
    skipped: Object.fromEntries(skipped.map(({ profile: { id }, reason }) => [id, reason])),
    preferred: preferred?.profile.id,
  }
}

describe('profiles try', () => {
  it('by credential: OAuth, then tokens, then keys', () => {
    const profiles = [profile('openai:key', key), profile('openai-codex:token', token), profile('openai-codex:login', oauth)]
    expect(order(profiles)).toEqual({
      tries: ['openai-codex:login', 'openai-codex:token', 'openai:key'],
      skipped: {},
      preferred: 'openai-codex:login',
    })
  })

  it.each([
    ['none was used yet: as they are listed', [], ['a', 'b', 'c']],
    ['the first was used last', ['b', 'c', 'a'], ['b', 'c', 'a']],
    ['one was never used', ['a', 'c'], ['b', 'a', 'c']],
  ])('in turn among equals: %s', (_what, used, expected) => {
    const profiles = ['a', 'b', 'c'].map(name => profile(`openai:${name}`, key))
    expect(order(profiles, { used: used.map(name => `openai:${name}`) }).tries).toEqual(expected.map(name => `openai:${name}`))
  })

  it('a login before a key however long ago the key was used', () => {
    const profiles = [profile('openai:key', key), profile('openai-codex:login', oauth)]
    expect(order(profiles, { used: ['openai-codex:login'] }).tries).toEqual(['openai-codex:login', 'openai:key'])
  })

  it('in the operator’s order, and no other caller', () => {
    const profiles = [profile('openai-codex:login', oauth), profile('openai:a', key), profile('openai:b', key)]
    expect(order(profiles, { order: ['openai:b', 'openai-codex:login'], used: ['openai:b'] })).toEqual({
      tries: ['openai:b', 'openai-codex:login'],
      skipped: { 'openai:a': 'excluded_by_order' },
      preferred: 'openai:b',
    })
  })

  it('not at all with an empty order', () => {
    expect(order([profile('openai:a', key)], { order: [] })).toEqual({
      tries: [],
      skipped: { 'openai:a': 'excluded_by_order' },
      preferred: undefined,
    })
  })

  it('only where their provider speaks the language', () => {
    const profiles = [profile('openai-codex:login', oauth), profile('openai:a', key), profile('anthropic:a', key)]
    expect(order(profiles, { protocol: 'chat_completions' }).tries).toEqual(['openai:a'])
    expect(order(profiles, { protocol: 'messages' }).tries).toEqual(['anthropic:a'])
    expect(order(profiles, { protocol: 'responses' }).tries).toEqual(['openai-codex:login', 'openai:a'])
    expect(order(profiles, { protocol: 'models' }).tries).toEqual(['openai-codex:login', 'openai:a', 'anthropic:a'])
  })

  it('only of the provider, or only the profile, that the caller names', () => {
    const profiles = [profile('openai:a', key), profile('openai:b', key), profile('corp:a', key)]
    expect(order(profiles, { provider: 'openai' }).tries).toEqual(['openai:a', 'openai:b'])
    expect(order(profiles, { profile: 'openai:b' }).tries).toEqual(['openai:b'])
    expect(order(profiles, { provider: 'corp', profile: 'openai:b' }).tries).toEqual([])
  })

  it('without those whose provider is unknown here: another process may share the store', () => {
    expect(order([profile('theirs:a', key), profile('openai:a', key)])).toEqual({ tries: ['openai:a'], skipped: {}, preferred: 'openai:a' })
  })
})

describe('a profile is passed over', () => {
  const good = profile('openai:good', key)
  it.each<[SkipReason, StoredProfile, Parameters<typeof order>[1]]>([
    ['cooldown', profile('openai-codex:me', oauth), { resting: ['openai-codex:me'] }],
    ['needs_login', profile('openai-codex:me', oauth), { dead: ['openai-codex:me'] }],
    ['missing_credential', profile('openai-codex:me', { type: 'oauth', generation: 0 }), {}],
    ['missing_credential', profile('openai:empty', { type: 'api_key', key: '' }), {}],
    ['missing_credential', profile('openai-codex:empty', { type: 'token', token: '' }), {}],
    ['expired', profile('openai-codex:old', { type: 'token', token: 'tok', expiresAt: NOW }), {}],
    ['mode_mismatch', profile('openai:oauth', oauth), {}],
    ['excluded_by_order', profile('openai:other', key), { order: ['openai:good'] }],
  ])('for %s', (reason, passedOver, question) => {
    expect(order([passedOver, good], question)).toMatchObject({ tries: ['openai:good'], skipped: { [passedOver.id]: reason } })
  })

  it.each([
    ['an access token that has expired, with a refresh token', { type: 'oauth', access: 'at', refresh: 'rt', expiresAt: 1, generation: 0 }],
    ['no access token, with a refresh token', { type: 'oauth', refresh: 'rt', generation: 0 }],
    ['an access token alone', { type: 'oauth', access: 'at', generation: 0 }],
    ['a token of unknown expiry', { type: 'token', token: 'tok' }],
    ['a token that is good for another millisecond', { type: 'token', token: 'tok', expiresAt: NOW + 1 }],
  ] as [string, Credential][])('but not for %s', (_what, credential) => {
    expect(order([profile('openai-codex:me', credential)]).tries).toEqual(['openai-codex:me'])
  })

  it('for its rest only in favour of another: when all rest, all try', () => {
    const profiles = [profile('openai-codex:me', oauth), good]
    expect(order(profiles, { resting: ['openai-codex:me', 'openai:good'] })).toEqual({
      tries: ['openai-codex:me', 'openai:good'],
      skipped: {},
      preferred: 'openai-codex:me',
    })
  })

  it('for its rest even when the others cannot serve: then it tries after all', () => {
    const profiles = [profile('openai-codex:dead', oauth), good]
    expect(order(profiles, { dead: ['openai-codex:dead'], resting: ['openai:good'] })).toEqual({
      tries: ['openai:good'],
      skipped: { 'openai-codex:dead': 'needs_login' },
      preferred: 'openai-codex:dead',
    })
  })
})

describe('a metered profile', () => {
  const login = profile('openai-codex:me', oauth)
  const paid = profile('openai:key', key)

  it('is denied to a call that a subscription was meant to serve', () => {
    const denied = { tries: ['openai-codex:me'], skipped: { 'openai:key': 'billing_denied' } }
    expect(order([login, paid], { metered: 'deny' })).toMatchObject(denied)
    expect(order([login, paid], { metered: 'deny', resting: ['openai-codex:me'] })).toMatchObject(denied)
    expect(order([login, paid], { metered: 'deny', dead: ['openai-codex:me'] })).toMatchObject({
      tries: [],
      skipped: { 'openai:key': 'billing_denied', 'openai-codex:me': 'needs_login' },
    })
  })

  it('serves a call that was meant for it', () => {
    expect(order([login, paid], { metered: 'deny', order: ['openai:key', 'openai-codex:me'] }).tries).toEqual([
      'openai:key',
      'openai-codex:me',
    ])
    expect(order([paid], { metered: 'deny' }).tries).toEqual(['openai:key'])
  })

  it('is what the profile says, not what its credential suggests', () => {
    const prepaid = profile('openai:key', key, { billing: 'subscription' })
    expect(order([login, prepaid], { metered: 'deny' }).tries).toEqual(['openai-codex:me', 'openai:key'])
  })
})

describe('where a provider answers', () => {
  it('is its path for the language, and its own path for the list of models', () => {
    expect(pathOf(registry.get('anthropic'), 'messages')).toBe('/v1/messages')
    expect(pathOf(registry.get('anthropic'), 'models')).toBe('/v1/models')
    expect(pathOf(registry.get('openai-codex'), 'responses')).toBe('/codex/responses')
    expect(pathOf(registry.get('openai-codex'), 'chat_completions')).toBeUndefined()
  })
})
