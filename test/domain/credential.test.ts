import { describe, expect, it } from 'vitest'
import { bearerFingerprint, bearerOf, type Credential, expiryOf, isOAuth } from '../../src/domain/credential.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'

const KEY: Credential = { type: 'api_key', key: 'sk-1' }
const TOKEN: Credential = { type: 'token', token: 'tok-1', expiresAt: 5 }
const OAUTH: Credential = { type: 'oauth', access: 'at-1', refresh: 'rt-1', expiresAt: 7, generation: 3 }

describe('a credential', () => {
  it.each<[Credential, string | undefined, number | undefined, boolean]>([
    [KEY, 'sk-1', undefined, false],
    [TOKEN, 'tok-1', 5, false],
    [{ type: 'token', token: 'tok-1' }, 'tok-1', undefined, false],
    [OAUTH, 'at-1', 7, true],
    [{ type: 'oauth', refresh: 'rt-1', generation: 0 }, undefined, undefined, true],
    [{ type: 'oauth', access: '', generation: 0 }, undefined, undefined, true],
    [{ type: 'api_key', key: '' }, undefined, undefined, false],
    [{ type: 'token', token: '' }, undefined, undefined, false],
  ])('%j is sent as %j, expires at %s, is OAuth: %s', (credential, bearer, expiresAt, oauth) => {
    expect(bearerOf(credential)).toBe(bearer)
    expect(expiryOf(credential)).toBe(expiresAt)
    expect(isOAuth(credential)).toBe(oauth)
    expect(bearerFingerprint(credential)).toBe(fingerprint(bearer))
  })

  it('has the same fingerprint each time', () => {
    expect(bearerFingerprint(OAUTH)).toBe(bearerFingerprint(OAUTH))
    expect(bearerFingerprint({ ...OAUTH })).toBe(bearerFingerprint(OAUTH))
  })
})

describe('a fingerprint', () => {
  it('is twelve hex digits, equal for equal tokens in every process', () => {
    // Written down: telemetry of different versions must agree.
    expect(fingerprint('rt-1')).toBe(fingerprint('rt-1'))
    expect(fingerprint('rt-1')).toMatch(/^[0-9a-f]{12}$/)
    expect(fingerprint('canary')).toBe('38b9a7c3e00c')
  })

  it('distinguishes tokens that differ in one character', () => {
    const all = Array.from({ length: 1000 }, (_, index) => fingerprint(`token-${index}`))
    expect(new Set(all).size).toBe(1000)
  })

  it.each([undefined, ''])('of no token (%j) is none', token => {
    expect(fingerprint(token)).toBeUndefined()
  })
})
