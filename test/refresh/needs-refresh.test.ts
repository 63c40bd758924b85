import { describe, expect, it } from 'vitest'
import { NEEDS_REFRESH_DEFAULTS, needsRefresh } from '../../src/refresh/needs-refresh.ts'

const NOW = 1_800_000_000_000
const EARLY = NEEDS_REFRESH_DEFAULTS.earlyMs

describe('whether a credential needs a refresh', () => {
  it.each([
    ['no access token', {}, 'missing'],
    ['an empty access token', { access: '', expiresAt: NOW + 1e9 }, 'missing'],
    ['an unknown expiry: used until the provider rejects it', { access: 'a' }, undefined],
    ['expired long ago', { access: 'a', expiresAt: NOW - 1e9 }, 'expired'],
    ['an expiry of zero', { access: 'a', expiresAt: 0 }, 'expired'],
    ['expires this very millisecond', { access: 'a', expiresAt: NOW }, 'expired'],
    ['expires in a millisecond', { access: 'a', expiresAt: NOW + 1 }, 'expiring'],
    ['expires at the edge of the early time', { access: 'a', expiresAt: NOW + EARLY }, 'expiring'],
    ['expires just beyond it', { access: 'a', expiresAt: NOW + EARLY + 1 }, undefined],
    ['expires in ten days', { access: 'a', expiresAt: NOW + 864_000_000 }, undefined],
  ] as const)('%s', (_, credential, reason) => {
    expect(needsRefresh(credential, NOW)).toBe(reason)
  })

  it('an early time of zero lets a token serve to its last millisecond', () => {
    expect(needsRefresh({ access: 'a', expiresAt: NOW + 1 }, NOW, { earlyMs: 0 })).toBeUndefined()
    expect(needsRefresh({ access: 'a', expiresAt: NOW }, NOW, { earlyMs: 0 })).toBe('expired')
  })

  it('a negative early time is the mistake of a programmer', () => {
    expect(() => needsRefresh({ access: 'a' }, NOW, { earlyMs: -1 })).toThrow(RangeError)
  })
})
