import { describe, expect, it } from 'vitest'
import { type OAuthCredential, ROTATED_AWAY_KEPT, type StoredProfile } from '../../src/domain/credential.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { holds, rotate, withRotation } from '../../src/refresh/rotation.ts'
import { ownershipDigest } from '../../src/refresh/token-ownership.ts'
import type { GrantedAnswer } from '../../src/token-requests/refresh-answer.ts'

const NOW = 1_800_000_000_000
const current: OAuthCredential = {
  type: 'oauth',
  access: 'at-1',
  refresh: 'rt-1',
  expiresAt: NOW - 1,
  issuedAt: NOW - 3_600_000,
  account: 'acct-1',
  idToken: 'id-1',
  scope: 'openid',
  generation: 4,
}
const answer: GrantedAnswer = { kind: 'granted', status: 200, access: 'at-2', refresh: 'rt-2', expiresInMs: 60_000, account: 'acct-1' }
const profile: StoredProfile = { id: 'p', provider: 'openai-codex', billing: 'subscription', credential: current }

describe('what an answer makes of a credential', () => {
  it('a new refresh token rotates it: generation + 1, expiry from the answer, what the answer leaves out lives on', () => {
    expect(rotate(current, answer, NOW)).toEqual({
      outcome: 'rotated',
      credential: {
        ...current,
        access: 'at-2',
        refresh: 'rt-2',
        expiresAt: NOW + 60_000,
        issuedAt: NOW,
        generation: 5,
      },
    })
  })

  it('a new id token and scope replace the old ones', () => {
    const { credential } = rotate(current, { ...answer, idToken: 'id-2', scope: 'all' }, NOW) as { credential: OAuthCredential }
    expect(credential).toMatchObject({ idToken: 'id-2', scope: 'all' })
  })

  it.each([
    ['no refresh token', undefined],
    ['the same refresh token', 'rt-1'],
  ])('an answer with %s renews it and keeps the old one', (_, refresh) => {
    const { refresh: _refresh, ...rest } = answer
    const rotation = rotate(current, refresh ? { ...rest, refresh } : rest, NOW)
    expect(rotation).toMatchObject({ outcome: 'renewed', credential: { access: 'at-2', refresh: 'rt-1', generation: 5 } })
  })

  it.each([
    ['another account is refused', 'acct-1', 'acct-2', 'identity_mismatch'],
    ['the same account is taken', 'acct-1', 'acct-1', 'rotated'],
    ['an account where none was known is learnt', undefined, 'acct-2', 'rotated'],
    ['an answer that names no account is taken', 'acct-1', undefined, 'rotated'],
  ])('%s', (_, before, after, outcome) => {
    const { account: _mine, ...nobody } = current
    const { account: _theirs, ...silent } = answer
    const rotation = rotate(before ? { ...nobody, account: before } : nobody, after ? { ...silent, account: after } : silent, NOW)
    expect(rotation.outcome).toBe(outcome)
    if (rotation.outcome !== 'identity_mismatch') expect(rotation.credential.account).toBe(before ?? after)
  })
})

describe('the profile with the rotated credential', () => {
  const next: OAuthCredential = { ...current, access: 'at-2', refresh: 'rt-2', generation: 5 }

  it('forgets the intent and the dead grant, and remembers what was rotated away', () => {
    const before = {
      ...profile,
      pending: { refreshFingerprint: 'f', sentAt: 1, pid: 2 },
      needsLogin: { outcome: 'invalidated', since: 1 },
      rotatedAway: ['older'],
    }
    expect(withRotation(before, 'rt-1', next)).toEqual({
      ...profile,
      credential: next,
      rotatedAway: [fingerprint('rt-1'), 'older'],
      heldBefore: [ownershipDigest('rt-1', next.account)],
      rotatedAwayAt: [next.issuedAt],
    })
  })

  it('remembers so many rotated tokens and no more, the newest first', () => {
    const rotatedAway = Array.from({ length: ROTATED_AWAY_KEPT }, (_, index) => `f${index}`)
    const rotatedAwayAt = rotatedAway.map((_, index) => index)
    const after = withRotation({ ...profile, rotatedAway, heldBefore: rotatedAway, rotatedAwayAt }, 'rt-1', next)
    expect(after?.rotatedAway).toEqual([fingerprint('rt-1'), ...rotatedAway.slice(0, -1)])
    expect(after?.heldBefore).toEqual([ownershipDigest('rt-1', next.account), ...rotatedAway.slice(0, -1)])
    expect(after?.rotatedAwayAt).toEqual([next.issuedAt, ...rotatedAwayAt.slice(0, -1)])
  })

  it('knows no time for what an earlier version noted', () => {
    const after = withRotation({ ...profile, rotatedAway: ['f0'], heldBefore: ['d0'] }, 'rt-1', next)
    expect(after).toMatchObject({ heldBefore: [ownershipDigest('rt-1', next.account), 'd0'], rotatedAwayAt: [next.issuedAt] })
  })

  it('a token that was retained is not called rotated away', () => {
    expect(withRotation(profile, 'rt-1', { ...next, refresh: 'rt-1' })?.rotatedAway).toEqual([])
  })

  it.each([
    ['a user signed in meanwhile', { ...profile, credential: { ...current, refresh: 'rt-of-a-new-login', generation: 0 } }],
    ['another process rotated it meanwhile', { ...profile, credential: { ...current, refresh: 'rt-3', generation: 6 } }],
    ['another process renewed it meanwhile, and the refresh token lives on', { ...profile, credential: { ...current, generation: 5 } }],
    ['it is an API key by now', { ...profile, credential: { type: 'api_key', key: 'k' } as const }],
    ['the profile was removed', undefined],
  ])('is left unchanged when %s', (_, stored) => {
    expect(withRotation(stored, 'rt-1', next)).toBe(stored)
  })

  it('says whether it still holds a refresh token', () => {
    expect([holds(profile, 'rt-1'), holds(profile, 'rt-2')]).toEqual([true, false])
  })
})
