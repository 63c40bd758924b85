import { describe, expect, it } from 'vitest'
import { EchoFilter } from '../../src/calls/echo-filter.ts'
import type { Credential } from '../../src/domain/credential.ts'

const SECRET = 'sk-sk-s7KmQ2vXb9LtRz4Nw'
const KEY: Credential = { type: 'api_key', key: SECRET }

/** Numbers that look random and are the same in every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** What comes out of a stream that comes in these pieces, and how much of it was there after each. */
function passed(pieces: readonly string[], credential = KEY) {
  const filter = new EchoFilter(credential)
  const out = pieces.map(piece => filter.chunk(Buffer.from(piece)))
  return { text: Buffer.concat([...out, filter.rest()]).toString(), out: out.map(String) }
}

/** Says whether `out` is `whole` but for the secret, whose first three characters may be gone by when the next ones come: they are none. */
function isHidden(out: string, whole: string, secret: string): boolean {
  if (out.length !== whole.length) return false
  for (let at = 0; at < whole.length; at += 1) {
    if (!whole.startsWith(secret, at)) {
      if (out[at] !== whole[at]) return false
    } else {
      if (!/^[*]+$/.test(out.slice(at + 3, at + secret.length))) return false
      at += secret.length - 1
    }
  }
  return true
}

describe('a stream', () => {
  const SECRETS = [
    ['with a rare letter near its beginning', SECRET],
    ['of common letters', 'aeaeaeaeaeaeaeaeaaeaeaeae'],
    ['whose rare letter comes late', `sk-${'s'.repeat(24)}Q${'s'.repeat(9)}`],
    ['of the shortest length', 'sk-sk-sk-sk-skQ7'],
    ['that begins with its rare letter', 'QsQsk-QsQsQsk-Qs9'],
  ] as const
  it.each(SECRETS)('loses a secret %s however it is cut into pieces, and nothing else', (_what, secret) => {
    const random = randomNumbers(5)
    const wrong: object[] = []
    const parts = [secret, secret, secret.slice(0, 9), secret.slice(0, 3), 's', secret.slice(3), 'data: {"x":1}\n\n', 'é🙂']
    for (let round = 0; round < 3_000; round += 1) {
      const text = Array.from({ length: 1 + random() * 6 }, () => parts[Math.floor(random() * parts.length)]).join('')
      const pieces: string[] = []
      const characters = [...`${text}.`]
      while (characters.length > 0) pieces.push(characters.splice(0, 1 + Math.floor(random() ** 3 * 30)).join(''))
      const whole = `${text}.`
      const { text: out } = passed(pieces, { type: 'api_key', key: secret })
      // Compared here: an `expect` for each character costs a hundred times what it checks.
      if (!isHidden(out, whole, secret)) wrong.push({ pieces, out })
    }
    expect(wrong).toEqual([])
  })

  it.each([
    ['***-sk-*****************', false],
    ['sk-********************', true],
    ['sk-*******************w', false],
    ['***-********************', false],
  ])('is compared character by character: %s', (out, hidden) => {
    expect(isHidden(`${out}.`, `${SECRET}.`, SECRET)).toBe(hidden)
  })

  it('passes on at once what is no beginning of it, and is not copied', () => {
    const filter = new EchoFilter(KEY)
    const chunk = Buffer.from('data: {"delta":"hello s"}\n\ndata: sk')
    const out = filter.chunk(chunk)
    expect([out.length, out.buffer === chunk.buffer]).toEqual([chunk.length, true])
    expect(passed(['hello sk-sk', '-other']).out).toEqual(['hello ', 'sk-sk-other'])
  })

  it('that ends in the middle of it keeps that part', () => {
    expect(passed([`x ${SECRET.slice(0, -1)}`]).text).toBe(`x ${'*'.repeat(SECRET.length - 1)}`)
    expect(passed(['x sk-sk']).text).toBe('x sk-sk')
  })

  it('leaves a word alone that is also a key', () => {
    const credential: Credential = { type: 'api_key', key: 'lm-studio' }
    expect(passed(['I am lm-', 'studio'], credential).text).toBe('I am lm-studio')
  })
})
