import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { pinSecret, registerSecret, SecretRegistry, secretChanges, withoutSecrets } from '../../src/tools/secret-registry.ts'
import { TestClock } from '../support/test-clock.ts'

const DAY_MS = 86_400_000
const KEY = 'k3y!odd_7#x'
const RANDOM = 'Qb7xW2mKfT9zLr4HvN8cYd3JpS6gUe1Aa'
const jwt = (signature: string) => `eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.${signature}`

/** A registry that hides these, and what it makes of a text. */
function hiding(...texts: readonly string[]) {
  const hidden = new SecretRegistry()
  for (const text of texts) hidden.hide(text)
  return (text: string) => hidden.replace(text, '*')
}

describe('a hidden text', () => {
  it('is found wherever it stands, and as often', () => {
    const clean = hiding(KEY, 'wobblypenguinmarmalade')
    expect(clean(KEY)).toBe('*')
    expect(clean(`a ${KEY}, and ${KEY}${KEY}`)).toBe('a *, and **')
    expect(clean('gpt-5.5-wobblypenguinmarmalade')).toBe('gpt-5.5-*')
    expect(clean('wobbly penguin marmalade')).toBe('wobbly penguin marmalade')
  })

  it('is found when its end was cut off, where it is long and random', () => {
    const clean = hiding(RANDOM, KEY, 'correct-horse-battery-staple')
    expect(clean(`key ${RANDOM.slice(0, 20)}`)).toBe('key *')
    expect(clean(`key ${RANDOM.slice(0, 14)} but another`)).toBe('key * but another')
    expect(clean(`key ${RANDOM.slice(0, 8)}`)).toBe(`key ${RANDOM.slice(0, 8)}`)
    // The beginning of a short text, or of one made of words, stands in others too.
    expect(clean('key k3y!odd_7')).toBe('key k3y!odd_7')
    expect(clean('correct-horse-b')).toBe('correct-horse-b')
    expect(clean('a correct-horse-battery-staple')).toBe('a *')
  })

  it('is distinguished from another that begins alike, and the longer one wins', () => {
    const clean = hiding(RANDOM, `${RANDOM}-and-more`)
    expect(clean(`x ${RANDOM}-and-more y ${RANDOM} z ${RANDOM.slice(0, 30)}?`)).toBe('x * y * z *?')
  })

  it('is hidden whole however long it is, in several thousands of its kind', () => {
    const tokens = Array.from({ length: 5_000 }, () => jwt(randomBytes(256).toString('base64url')))
    const long = randomBytes(1_024).toString('base64url')
    const clean = hiding(...tokens, long)
    for (const token of [...tokens.slice(0, 20), long]) expect(clean(`a ${token} b`)).toBe('a * b')
    const another = jwt(randomBytes(256).toString('base64url'))
    expect(clean(another)).toBe(another)
    expect(clean(`x ${tokens[7]?.split('.')[2]?.slice(0, 30)}`)).toBe('x *')
  })

  it('is no beginning of others where it is a JWT without a signature: all of them begin alike', () => {
    const clean = hiding(jwt(''), jwt(RANDOM))
    expect(clean(`x ${jwt('')}`)).toBe('x *')
    expect(clean('eyJhbGciOiJSUzI1NiJ9 is a header')).toBe('eyJhbGciOiJSUzI1NiJ9 is a header')
  })

  it('is announced, so that what was found clean before is looked at again', () => {
    const before = secretChanges()
    registerSecret('announced-once-7f3a9c1e')
    registerSecret('announced-once-7f3a9c1e')
    pinSecret('announced-once-7f3a9c1e')
    expect(secretChanges()).toBe(before + 1)
  })
})

// The registry forgot the oldest text when it held 5,000: a configured key was shown after 5,001 other tokens. A key that is a
// common word (`lm-studio`) was replaced wherever it stood, in the names of provider, profile and model too. Configured keys
// are pinned, tokens go by age, and words count only where they are the whole text (issue 1, point B4).
describe('a key that is configured', () => {
  it('stays hidden, whatever comes after it', () => {
    pinSecret('cfg-7f3a9c1e5b2d')
    for (let count = 0; count < 60_000; count += 1) registerSecret(`later-${count.toString(36)}-7f3a9c1e5b2d84`)
    expect(withoutSecrets('x cfg-7f3a9c1e5b2d y', '*')).toBe('x * y')
  })

  it('stays hidden when it was a token first, and for ever', () => {
    const clock = new TestClock()
    const hidden = new SecretRegistry({ clock, mostTokens: 2 })
    hidden.hide(RANDOM)
    hidden.pin(RANDOM)
    clock.advance(2 * DAY_MS)
    for (const token of ['a', 'b', 'c', 'd']) hidden.hide(`${token}-7f3a9c1e5b2d84`)
    expect(hidden.replace(RANDOM, '*')).toBe('*')
  })

  it.each(['lm-studio', 'ollama', 'not-needed', 'dummy-key-1', 'secret7'])(
    'and is a word, as %s, hides it only where it is the whole text',
    key => {
      const clean = hiding(key)
      expect(clean(key)).toBe('*')
      for (const name of [`${key}:default`, `${key}/qwen3-30b`, `my-${key}`, `src/providers/${key}.ts`]) expect(clean(name)).toBe(name)
    },
  )

  it('and is the name of a provider keeps that name shown', () => {
    const hidden = new SecretRegistry()
    hidden.show('lm-studio')
    hidden.pin('lm-studio')
    expect(hidden.replace('lm-studio', '*')).toBe('lm-studio')
  })

  it('and is too short is nothing to look for', () => {
    expect(hiding('', 'x', 'EMPTY')('EMPTY')).toBe('EMPTY')
  })
})

describe('a token', () => {
  it('is forgotten a day after it was last seen', () => {
    const clock = new TestClock()
    const hidden = new SecretRegistry({ clock })
    const used = `used-${RANDOM}`
    hidden.hide(RANDOM)
    hidden.hide(used)
    for (let hour = 0; hour < 25; hour += 1) {
      clock.advance(DAY_MS / 24)
      hidden.hide(used)
    }
    expect(hidden.replace(`${RANDOM} ${used}`, '*')).toBe(`${RANDOM} *`)
  })

  it('that was not seen for longest goes first when there are too many', () => {
    const clock = new TestClock()
    const hidden = new SecretRegistry({ clock, mostTokens: 3 })
    const tokens = ['a', 'b', 'c'].map(name => `${name}-${RANDOM}`)
    for (const token of tokens) hidden.hide(token)
    clock.advance(120_000)
    hidden.hide(tokens[0])
    hidden.hide(`d-${RANDOM}`)
    expect(tokens.map(token => hidden.replace(token, '*'))).toEqual(['*', tokens[1], '*'])
  })
})
