import { describe, expect, it } from 'vitest'
import type { OAuthCredential } from '../../src/domain/credential.ts'
import { REFRESH_REASONS, type RefreshReason } from '../../src/domain/enums.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { type AcquireVerdict, isUsable, judgeAcquire } from '../../src/refresh/acquire.ts'

const NOW = 1_800_000_000_000
const HOUR = 3_600_000
const OPTIONS = { now: NOW, earlyMs: 120_000, forced: 'reuse' } as const
const token = (life: number | undefined, access: string | undefined = 'at'): OAuthCredential => ({
  type: 'oauth',
  generation: 1,
  ...(access !== undefined && { access }),
  ...(life !== undefined && { expiresAt: NOW + life }),
})
const MINE = fingerprint('at') ?? ''
const ANOTHER = fingerprint('older') ?? ''

/** What each reason gets for a token that is usable, expiring, expired. */
const BY_REASON: Record<RefreshReason, readonly [AcquireVerdict, AcquireVerdict, AcquireVerdict]> = {
  missing: ['reuse', 'refresh', 'refresh'],
  expired: ['reuse', 'refresh', 'refresh'],
  expiring: ['reuse', 'refresh', 'refresh'],
  rejected: ['reuse', 'refresh', 'refresh'],
  forced: ['reuse', 'refresh', 'refresh'],
  scheduled: ['reuse', 'refresh', 'refresh'],
  operator: ['refresh', 'refresh', 'refresh'],
  unknown: ['reuse', 'refresh', 'refresh'],
}

describe('what an acquisition needs', () => {
  it.each(REFRESH_REASONS)('with the reason %s, for a token that is usable, expiring, expired', reason => {
    const verdicts = [HOUR, 60_000, -1].map(life => judgeAcquire(token(life), { reason }, OPTIONS))
    expect(verdicts).toEqual(BY_REASON[reason])
  })

  it('a forced acquisition refreshes a usable token where policy says so, and no other acquisition does', () => {
    const verdicts = REFRESH_REASONS.map(reason => [reason, judgeAcquire(token(HOUR), { reason }, { ...OPTIONS, forced: 'refresh' })])
    expect(verdicts.filter(([, verdict]) => verdict === 'refresh').map(([reason]) => reason)).toEqual(['forced', 'operator'])
  })

  it.each([
    ['the very token that was rejected is stored', token(HOUR), MINE, 'refresh'],
    ['another one is stored: it is newer', token(HOUR), ANOTHER, 'adopt'],
    ['another one is stored, expiring', token(60_000), ANOTHER, 'adopt'],
    ['another one is stored, expired', token(-1), ANOTHER, 'refresh'],
    ['none is stored', { type: 'oauth', generation: 1 } as const, ANOTHER, 'refresh'],
    ['the rejected one is stored and its expiry is unknown', token(undefined), MINE, 'refresh'],
  ])('rejected: %s', (_, credential, rejected, verdict) => {
    for (const reason of ['rejected', 'forced'] as const) expect(judgeAcquire(credential, { reason, rejected }, OPTIONS)).toBe(verdict)
  })

  it.each([
    ['the caller holds the refresh token that is stored', 'rt-2', ['reuse', 'refresh', 'refresh']],
    ['it holds an older one: what is stored is newer', 'rt-1', ['adopt', 'refresh', 'refresh']],
  ] as const)('%s, for an access token that is usable, expiring, expired', (_, refresh, verdicts) => {
    const held = fingerprint(refresh) ?? ''
    for (const reason of ['unknown', 'expired', 'forced', 'rejected'] as const) {
      const acquisition = { reason, held }
      expect([HOUR, 60_000, -1].map(life => judgeAcquire({ ...token(life), refresh: 'rt-2' }, acquisition, OPTIONS))).toEqual(verdicts)
    }
  })
})

describe('whether a token can be sent right now', () => {
  const stored = (credential: OAuthCredential) => ({ id: 'p', provider: 'p', credential })
  it.each([
    ['usable', token(HOUR), undefined, true],
    ['expiring: early counts for nothing here', token(1), undefined, true],
    ['expired', token(0), undefined, false],
    ['of unknown expiry', token(undefined), undefined, true],
    ['missing', { type: 'oauth', generation: 0 } as const, undefined, false],
    ['usable but rejected', token(HOUR), MINE, false],
    ['usable, another one was rejected', token(HOUR), ANOTHER, true],
  ])('%s', (_, credential, rejected, usable) => {
    expect(isUsable(stored(credential), NOW, rejected)).toBe(usable)
  })

  it('what never expires here is not ours to refuse', () => {
    expect(isUsable({ id: 'p', provider: 'p', credential: { type: 'api_key', key: 'k' } }, NOW)).toBe(true)
  })
})
