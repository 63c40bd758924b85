import { describe, expect, it } from 'vitest'
import { type OAuthCredential, ROTATED_AWAY_KEPT, type StoredProfile } from '../../src/domain/credential.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { withRotation } from '../../src/refresh/rotation.ts'
import { findOwnership, ownershipDigest } from '../../src/refresh/token-ownership.ts'

const credential: OAuthCredential = { type: 'oauth', access: 'at-1', refresh: 'rt-1', account: 'acct', generation: 1 }
const profile: StoredProfile = { id: 'p:me', provider: 'p', credential }

/** The profile after so many rotations; it holds `rt-<times + 1>`. */
function rotated(times: number): StoredProfile {
  let current = profile
  for (let generation = 2; generation <= times + 1; generation += 1) {
    const next = { ...credential, refresh: `rt-${generation}`, generation }
    current = withRotation(current, `rt-${generation - 1}`, next) ?? current
  }
  return current
}

const standingOf = (profiles: readonly StoredProfile[], refresh: string) => findOwnership(profiles, refresh)?.standing

describe('who shows a refresh token', () => {
  it('is known by the one the profile holds, by those it held, and by nothing else', () => {
    const profiles = [rotated(2)]
    expect(['rt-3', 'rt-2', 'rt-1', 'rt-0', 'rt-30', ''].map(token => standingOf(profiles, token))).toEqual([
      'current',
      'former',
      'former',
      undefined,
      undefined,
      undefined,
    ])
  })

  it('is known with the time at which each was rotated away, where that was noted', () => {
    const profiles = [{ ...rotated(3), rotatedAwayAt: [300, 200] }]
    expect(['rt-4', 'rt-3', 'rt-2', 'rt-1'].map(token => findOwnership(profiles, token)?.rotatedAwayAt)).toEqual([
      undefined,
      300,
      200,
      undefined,
    ])
  })

  it('is no longer known when it was rotated away too long ago', () => {
    const profiles = [rotated(ROTATED_AWAY_KEPT + 1)]
    expect([standingOf(profiles, 'rt-2'), standingOf(profiles, 'rt-1')]).toEqual(['former', undefined])
  })

  it('proves nothing by what telemetry shows: neither a fingerprint nor a digest stands for a token', () => {
    const profiles = [{ ...rotated(1), rotatedAway: [fingerprint('rt-found') ?? ''] }]
    for (const shown of ['rt-found', fingerprint('rt-1') ?? '', ownershipDigest('rt-1', 'acct')])
      expect(standingOf(profiles, shown)).toBeUndefined()
  })

  it('gets nothing of another account that has signed in under the same profile', () => {
    const { credential: _, ...rest } = rotated(1)
    const profiles = [{ ...rest, credential: { ...credential, refresh: 'rt-new', account: 'another-user' } }]
    expect([standingOf(profiles, 'rt-1'), standingOf(profiles, 'rt-new')]).toEqual([undefined, 'current'])
  })

  it('is met by the profile that holds the token now, where another one held it', () => {
    const behind = { ...profile, id: 'p:copy' }
    expect(findOwnership([rotated(1), behind], 'rt-1')).toMatchObject({ profile: { id: 'p:copy' }, standing: 'current' })
  })

  it('is absent for a key, and for a profile that has lost its refresh token', () => {
    const key: StoredProfile = { id: 'p:key', provider: 'p', credential: { type: 'api_key', key: 'rt-1' } }
    const lost: StoredProfile = { id: 'p:lost', provider: 'p', credential: { type: 'oauth', access: 'rt-1', account: '', generation: 0 } }
    expect(['rt-1', ''].map(token => standingOf([key, lost], token))).toEqual([undefined, undefined])
  })
})
