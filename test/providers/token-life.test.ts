import { describe, expect, it } from 'vitest'
import { tokenLife } from '../../src/providers/token-life.ts'

const now = 1_790_000_000_000
const HOUR = 3_600_000
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
/** A token that says itself that it lives two hours. */
const twoHours = `${part({})}.${part({ exp: now / 1000 + 7200 })}.x`
const expired = `${part({})}.${part({ exp: now / 1000 - 10 })}.x`

describe('the life of a fresh access token', () => {
  it.each([
    ['seconds', { expires_in: 864_000 }, 'opaque', { expiresInMs: 864_000_000 }],
    ['seconds that differ from the token itself', { expires_in: 3600 }, twoHours, { expiresInMs: HOUR }],
    ['nothing, expiry in the token', {}, twoHours, { expiresInMs: 2 * HOUR, repaired: 'missing' }],
    ['nothing, token is opaque', {}, 'opaque', { expiresInMs: HOUR, repaired: 'missing' }],
    ['nothing, token says it has expired', {}, expired, { expiresInMs: HOUR, repaired: 'missing' }],
    ['null', { expires_in: null }, 'opaque', { expiresInMs: HOUR, repaired: 'missing' }],
    ['zero', { expires_in: 0 }, twoHours, { expiresInMs: 2 * HOUR, repaired: 'zero' }],
    ['a negative number', { expires_in: -1 }, 'opaque', { expiresInMs: HOUR, repaired: 'zero' }],
    ['a number as text', { expires_in: '7200' }, 'opaque', { expiresInMs: 2 * HOUR, repaired: 'string' }],
    ['a text that is no number', { expires_in: 'soon' }, twoHours, { expiresInMs: 2 * HOUR, repaired: 'string' }],
    ['an empty text', { expires_in: ' ' }, 'opaque', { expiresInMs: HOUR, repaired: 'string' }],
    ['something else', { expires_in: { in: 5 } }, 'opaque', { expiresInMs: HOUR, repaired: 'string' }],
    ['ten days in milliseconds', { expires_in: 864_000_000 }, 'opaque', { expiresInMs: 864_000_000, repaired: 'milliseconds' }],
    [
      'two hours in milliseconds, seen by the token',
      { expires_in: 7_200_000 },
      twoHours,
      { expiresInMs: 2 * HOUR, repaired: 'milliseconds' },
    ],
    ['a moment in milliseconds (MiniMax)', { expired_in: now + 5 * HOUR }, 'opaque', { expiresInMs: 5 * HOUR, repaired: 'absolute' }],
    ['a moment in seconds', { expires_in: now / 1000 + 60 }, 'opaque', { expiresInMs: 60_000, repaired: 'absolute' }],
    ['a moment that has passed', { expires_in: now - HOUR }, 'opaque', { expiresInMs: HOUR, repaired: 'absolute' }],
  ])('%s', (_what, answer, token, life) => {
    expect(tokenLife(answer, token, now)).toEqual(life)
  })
})
