import { beforeEach, describe, expect, it } from 'vitest'
import { type AccessToken, type ExchangedTokens, TokenLineage } from '../../src/token-requests/token-lineage.ts'

const NOW = 1_800_000_000_000
const HOUR_MS = 3_600_000

let lineages: TokenLineage

beforeEach(() => {
  lineages = new TokenLineage()
})

describe('the reason of a token request', () => {
  it.each<[string, Partial<AccessToken>, string]>([
    ['the access token expired a minute ago', { expiresAt: NOW - 60_000 }, 'expired'],
    ['it expires this very moment', { expiresAt: NOW }, 'expired'],
    ['it expires within ten minutes', { expiresAt: NOW + 599_000 }, 'expiring'],
    ['it has days to live', { expiresAt: NOW + 240 * HOUR_MS }, 'forced'],
    ['it lives only eight minutes and has six of them left', { issuedAt: NOW - 120_000, expiresAt: NOW + 360_000 }, 'forced'],
    ['it lives only eight minutes and has one of them left', { issuedAt: NOW - 420_000, expiresAt: NOW + 60_000 }, 'expiring'],
    ['its lifetime is unknown', {}, 'unknown'],
  ])('when %s', (_when, token, reason) => {
    lineages.used('codex', access('a1', token), NOW - HOUR_MS)
    expect(refresh('r1').reason).toBe(reason)
  })

  it('is that the provider rejected the token, even one that is still good by its own word', () => {
    lineages.used('codex', access('a1', { expiresAt: NOW + HOUR_MS }), NOW - 2_000)
    lineages.rejected('a1', NOW - 1_000)
    expect(refresh('r1')).toMatchObject({ reason: 'rejected', wasRejected: true, before: { fingerprint: 'a1' } })
  })

  it('is not a rejection that came after the request was sent', () => {
    lineages.used('codex', access('a1', { expiresAt: NOW + HOUR_MS }), NOW - 2_000)
    lineages.rejected('a1', NOW + 1)
    expect(refresh('r1')).toMatchObject({ reason: 'forced', wasRejected: false })
  })

  it('is unknown while no access token was seen: the stored one may be anything', () => {
    expect(refresh('r1').reason).toBe('unknown')
  })

  it('is missing when the provider was called without a token before', () => {
    lineages.calledWithout('codex', NOW - 1)
    expect(refresh('r1').reason).toBe('missing')
  })

  it('is missing when the request itself shows that the credential holds none', () => {
    lineages.used('codex', access('a1', { expiresAt: NOW + HOUR_MS }), NOW - 1)
    expect(refresh(undefined, { isTokenless: true }).reason).toBe('missing')
  })

  it('is judged by the token there was when the request was sent, not by the one that came back meanwhile', () => {
    lineages.used('codex', access('a1', { expiresAt: NOW - 1, account: 'acc' }), NOW - HOUR_MS)
    refresh('r1', { granted: { access: access('a2', { expiresAt: NOW + HOUR_MS, account: 'acc' }), refresh: 'r2' } })
    expect(refresh('r1', { sentMs: NOW + 1, endedMs: NOW + 60 }).reason).toBe('expired')
    expect(refresh('r2', { sentMs: NOW + 100, endedMs: NOW + 200 }).reason).toBe('forced')
  })

  it('of one account is not taken from the tokens of another', () => {
    lineages.used('codex', access('a1', { expiresAt: NOW - 1, account: 'one' }), NOW - 20)
    lineages.used('codex', access('b1', { expiresAt: NOW + HOUR_MS, account: 'two' }), NOW - 10)
    const granted = { access: access('b2', { expiresAt: NOW + 2 * HOUR_MS, account: 'two' }), refresh: 'rb2' }
    expect(refresh('rb1', { granted })).toMatchObject({ reason: 'forced', profile: 'codex:two' })
    expect(refresh('ra1')).toMatchObject({ reason: 'expired', profile: 'codex:one' })
  })

  it('stays unknown where two grants could be meant and nothing shows which', () => {
    lineages.used('codex', access('a1', { expiresAt: NOW - 1 }), NOW - 20)
    lineages.used('codex', access('b1', { expiresAt: NOW + HOUR_MS }), NOW - 10)
    expect(refresh('r1').reason).toBe('unknown')
  })
})

describe('the lineage of a refresh token', () => {
  it('counts rotations and recognises a replay by any caller', () => {
    const granted = (n: number) => ({ access: access(`a${n}`, { expiresAt: NOW + HOUR_MS }), refresh: `r${n}` })
    expect(refresh('r1', { granted: granted(2) })).toMatchObject({ generation: 1, isReplay: false, isRetained: false })
    expect(refresh('r2', { granted: granted(3) })).toMatchObject({ generation: 2, isReplay: false })
    expect(refresh('r1')).toMatchObject({ generation: 2, isReplay: true })
    expect(refresh('r3')).toMatchObject({ isReplay: false })
  })

  it('keeps its profile over rotations', () => {
    const first = refresh('r1', { granted: { access: access('a2', {}), refresh: 'r2' } })
    expect(refresh('r2').profile).toBe(first.profile)
    expect(lineages.profileOf('a2')).toBe(first.profile)
  })

  it('a token that its provider leaves unchanged can be sent again', () => {
    expect(refresh('r1', { granted: { access: access('a2', {}) } })).toMatchObject({ isRetained: true, generation: 0 })
    expect(refresh('r1', { granted: { access: access('a3', {}), refresh: 'r1' } })).toMatchObject({ isRetained: true, isReplay: false })
  })

  it('counts an answer that could not be seen as a rotation', () => {
    expect(refresh('r1', { granted: {} })).toMatchObject({ isRetained: false, generation: 1 })
    expect(refresh('r1').isReplay).toBe(true)
  })

  it('a refused request rotates nothing', () => {
    refresh('r1')
    expect(refresh('r1')).toMatchObject({ isReplay: false, generation: 0 })
  })

  it('is forgotten in time, oldest grants first, so that memory stays flat', () => {
    for (let n = 0; n < 1_000; n += 1) lineages.used('codex', access(`a${n}`, {}), NOW)
    expect(lineages.profileOf('a0')).toBeUndefined()
    expect(lineages.profileOf('a999')).toBe('codex:a999')
  })
})

function access(fingerprint: string, token: Partial<AccessToken>): AccessToken {
  return { fingerprint, ...token }
}

function refresh(sent: string | undefined, exchange: Partial<ExchangedTokens> = {}) {
  return lineages.exchanged({ provider: 'codex', sentMs: NOW, endedMs: NOW + 50, sent, ...exchange })
}
