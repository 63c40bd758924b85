import { describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import type { ProfileState } from '../../src/domain/enums.ts'
import { isTokenUsable, profileStateOf, type StateQuestion } from '../../src/domain/profile-state.ts'

const NOW = 1_900_000_000_000
const LATER = { expiresAt: NOW + 3_600_000 }
const SOON = { expiresAt: NOW + 60_000 }
const OVER = { expiresAt: NOW }

const oauth = (more: object): Credential => ({ type: 'oauth', generation: 0, ...more })
const token = (more: object = {}): Credential => ({ type: 'token', token: 'tok', ...more })
const key = (text = 'sk'): Credential => ({ type: 'api_key', key: text })
const LOGIN = { access: 'at', refresh: 'rt' }

// Seen: a static token that had expired was shown ready, gauge 1 and exit code 0, while every call got 503.
// Why: whatever was no OAuth login counted as usable. Fix: one function judges every type of credential.
// Issue 22, E1.
describe('the state of a profile', () => {
  it.each<[string, Credential, Partial<StateQuestion>, ProfileState]>([
    ['a key', key(), {}, 'ready'],
    ['a key that is empty', key(''), {}, 'missing_credential'],
    ['a key that rests', key(), { isResting: true }, 'resting'],
    ['a key in memory only', key(), { isInMemoryOnly: true }, 'not_persisted'],
    ['a static token', token(), {}, 'ready'],
    ['a static token with time left', token(LATER), {}, 'ready'],
    ['a static token that ends soon', token(SOON), {}, 'expiring'],
    ['a static token that has expired', token(OVER), {}, 'expired'],
    ['a static token that has expired and rests', token(OVER), { isResting: true }, 'expired'],
    ['a static token that is empty', { type: 'token', token: '' }, {}, 'missing_credential'],
    ['a login', oauth({ ...LOGIN, ...LATER }), {}, 'ready'],
    ['a login whose expiry is not known', oauth(LOGIN), {}, 'ready'],
    ['a login that ends soon', oauth({ ...LOGIN, ...SOON }), {}, 'expiring'],
    ['a login whose access token has expired', oauth({ ...LOGIN, ...OVER }), {}, 'expired'],
    ['a login whose access token has expired and rests', oauth({ ...LOGIN, ...OVER }), { isResting: true }, 'resting'],
    ['a login without access token', oauth({ refresh: 'rt' }), {}, 'missing_credential'],
    ['a login without any token', oauth({}), { isDead: true }, 'missing_credential'],
    ['a login without refresh token', oauth({ access: 'at', ...LATER }), {}, 'ready'],
    ['a dead grant whose access token serves', oauth({ ...LOGIN, ...LATER }), { isDead: true }, 'needs_login'],
    ['a dead grant that rests', oauth({ ...LOGIN, ...LATER }), { isDead: true, isResting: true }, 'needs_login'],
    ['a login in memory only', oauth({ ...LOGIN, ...LATER }), { isInMemoryOnly: true }, 'not_persisted'],
    ['a login in memory only that rests', oauth({ ...LOGIN, ...LATER }), { isInMemoryOnly: true, isResting: true }, 'resting'],
  ])('%s', (_what, credential, more, state) => {
    const question = { credential, now: NOW, earlyMs: 120_000, isDead: false, isInMemoryOnly: false, isResting: false, ...more }
    expect(profileStateOf(question)).toBe(state)
  })

  it.each<[Credential, boolean]>([
    [key(), true],
    [key(''), false],
    [token(SOON), true],
    [token(OVER), false],
    [oauth({ ...LOGIN, ...SOON }), true],
    [oauth({ ...LOGIN, ...OVER }), false],
    [oauth({ refresh: 'rt' }), false],
  ])('%j can be sent unchanged: %s', (credential, isUsable) => {
    expect(isTokenUsable(credential, NOW)).toBe(isUsable)
  })
})
