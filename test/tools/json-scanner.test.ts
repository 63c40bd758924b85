import { describe, expect, it } from 'vitest'
import { replaceMember, scanBeginning, scanMembers, scannedString, scannedTrue } from '../../src/tools/json-object.ts'

const WANTED = ['model', 'stream']

/** What peeking says of a text: the wanted members as JSON text, or `undefined` where it is no object. */
function peek(text: string, wanted: readonly string[] = WANTED): Record<string, string> | undefined {
  const body = Buffer.from(text)
  const found = scanMembers(body, wanted)?.members
  return found && Object.fromEntries([...found].map(([name, { start, end }]) => [name, body.toString('utf8', start, end)]))
}

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

const PIECES = [
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  'model',
  'stream',
  ' ',
  '\n',
  '\t',
  '\u0000',
  'é',
  '🙂',
  '\u2028',
  'true',
  '\\"',
  '\\\\"',
]

function randomText(random: () => number): string {
  return Array.from({ length: Math.floor(random() * 6) }, () => PIECES[Math.floor(random() * PIECES.length)]).join('')
}

function randomValue(random: () => number, depth: number): unknown {
  const kind = Math.floor(random() * (depth > 3 ? 5 : 7))
  if (kind === 0) return randomText(random)
  if (kind === 1) return (random() - 0.5) * 10 ** Math.floor(random() * 20 - 5)
  if (kind === 2) return random() < 0.5
  if (kind === 3) return null
  if (kind === 4) return Math.floor(random() * 1000)
  if (kind === 5) return Array.from({ length: Math.floor(random() * 4) }, () => randomValue(random, depth + 1))
  return randomObject(random, depth + 1)
}

function randomObject(random: () => number, depth = 0): Record<string, unknown> {
  const names = Array.from({ length: Math.floor(random() * 6) }, () =>
    random() < 0.4 ? 'model' : random() < 0.3 ? 'stream' : randomText(random),
  )
  return Object.fromEntries(names.map(name => [name, randomValue(random, depth)]))
}

describe('peeking into a JSON object', () => {
  it.each<[string, Record<string, string>]>([
    ['{"model":"gpt-5.5","stream":true}', { model: '"gpt-5.5"', stream: 'true' }],
    ['{"stream":false,"input":"x","model":"m"}', { model: '"m"', stream: 'false' }],
    [' \r\n\t{ "model" : "m" , "input" : [ ] }\n', { model: '"m"' }],
    ['{"input":"he said \\"model\\": \\\\","model":"m"}', { model: '"m"' }],
    ['{"input":[{"model":"inner"},"]}"],"model":"outer"}', { model: '"outer"' }],
    ['{"metadata":{"model":"inner","stream":true}}', {}],
    ['{"model":{"name":"m"},"stream":[true]}', { model: '{"name":"m"}', stream: '[true]' }],
    ['{"model":null,"stream":1e3}', { model: 'null', stream: '1e3' }],
    ['{"model":""}', { model: '""' }],
    ['{}', {}],
  ])('finds what stands at the top of %s', (text, expected) => {
    expect(peek(text)).toEqual(expected)
  })

  it.each([
    '',
    ' ',
    '[]',
    '"model"',
    'null',
    '{',
    '{"model"',
    '{"model":',
    '{"model":"m',
    '{"model":"m"',
    '{"model" "m"}',
    '{"model":}',
    '{model:"m"}',
    '{"a":[1,2}',
    '{"a":1 "b":2}',
    '\ufeff{"model":"m"}',
  ])('says that %j is no JSON object', text => {
    expect(peek(text)).toBeUndefined()
  })

  it('sees every object as JSON.parse sees it, whatever is in it', () => {
    const random = randomNumbers(82069)
    for (let round = 0; round < 3000; round += 1) {
      const object = randomObject(random)
      const text = JSON.stringify(object, null, round % 3)
      const expected = Object.fromEntries(WANTED.filter(name => Object.hasOwn(object, name)).map(name => [name, object[name]]))
      const found = peek(text)
      expect(found, text).toBeDefined()
      expect(Object.fromEntries(Object.entries(found ?? {}).map(([name, value]) => [name, JSON.parse(value)])), text).toEqual(expected)
    }
  })

  it('never throws and never reads past the end, however an object is damaged', () => {
    const random = randomNumbers(7)
    for (let round = 0; round < 3000; round += 1) {
      const bytes = Buffer.from(JSON.stringify(randomObject(random)))
      for (let hit = 0; hit <= random() * 3; hit += 1) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      const damaged = bytes.subarray(0, Math.ceil(random() * bytes.length))
      for (const { start, end } of scanMembers(damaged, WANTED)?.members.values() ?? []) {
        expect(start).toBeLessThan(end)
        expect(end).toBeLessThanOrEqual(damaged.length)
      }
    }
  })

  it.each([
    '{"model":"m"}{"model":"n"}',
    '{"model":"m"} x',
    '{"model":"m","stream":true, then rubbish',
    '{"a":1"model":"m"}',
    '{"mod\\x65l":"m"}',
  ])('reads on to the end, and %j is no JSON object', text => {
    expect(peek(text)).toBeUndefined()
  })

  // `{"model":"a","stream":true,"model":"b"}` was counted and checked as a, and ran as b; the name with an escape likewise.
  // The scan stopped when it had found everything, and compared names as they are written (B7).
  it.each<[string, string[]]>([
    ['{"model":"a","stream":true,"model":"b"}', ['model']],
    ['{"model":"a","mod\\u0065l":"b"}', ['model']],
    ['{"\\u006d\\u006f\\u0064\\u0065\\u006c":"a","model":"b","stream":true,"\\u0073tream":false}', ['model', 'stream']],
    ['{"model":"a","MODEL":"b"}', ['model']],
    ['{"model":"a","\\u004dodel":"b"}', ['model']],
    ['{"model":"a","Stream":true}', ['stream']],
    ['{"model":"a","\u017ftream":true}', ['stream']],
    ['{"model":"a","metadata":{"model":"b"},"tools":[{"model":"c"}],"models":["d"],"model_":"e"}', []],
    ['{"mod\\u0065l":"a","stream":true}', []],
  ])('of %s says which names are ambiguous: %j', (text, ambiguous) => {
    expect(scanMembers(Buffer.from(text), WANTED)?.ambiguous).toEqual(ambiguous)
  })

  it('reads a name with escapes, and of one that stands there twice the last', () => {
    expect(peek('{"mod\\u0065l":"a","stream":true}')).toEqual({ model: '"a"', stream: 'true' })
    expect(peek('{"model":"a","input":"x","model":"b"}')).toEqual({ model: '"b"' })
  })
})

describe('peeking into the beginning of a JSON object', () => {
  const begins = (text: string) => {
    const body = Buffer.from(text)
    const found = scanBeginning(body, WANTED)?.members
    return found && Object.fromEntries([...found].map(([name, { start, end }]) => [name, body.toString('utf8', start, end)]))
  }

  it('finds at every length what is whole, and stops when everything is found', () => {
    const text = '{"model":"m","stream":true,"input":"hello"}'
    for (let length = 1; length <= text.length; length += 1) {
      const seen = text.slice(0, length)
      const expected = { ...(seen.includes('"m",') && { model: '"m"' }), ...(seen.includes('true,') && { stream: 'true' }) }
      expect(begins(seen), seen).toEqual(expected)
    }
    expect(begins('{"model":"m","stream":true, then rubbish')).toEqual({ model: '"m"', stream: 'true' })
  })

  it.each(['', '[{"model":"m"}', '{model', '{"a":1 "b"'])('says that %j does not begin one', text => {
    expect(begins(text)).toBeUndefined()
  })
})

describe('a peeked value', () => {
  const value = (text: string) => {
    const body = Buffer.from(`{"model":${text}}`)
    return { body, member: scanMembers(body, ['model'])?.members.get('model') }
  }

  it.each([
    ['"gpt-5.5"', 'gpt-5.5'],
    ['"\\u0067pt\\n"', 'gpt\n'],
    ['"🙂"', '🙂'],
    ['17', undefined],
    ['null', undefined],
    ['["gpt"]', undefined],
    ['"broken \\x escape"', undefined],
  ])('%s as a string is %j', (text, expected) => {
    const { body, member } = value(text)
    expect(scannedString(body, member)).toBe(expected)
  })

  it.each([
    ['true', true],
    ['false', false],
    ['"true"', false],
    ['1', false],
  ])('%s as a flag is %s', (text, expected) => {
    const { body, member } = value(text)
    expect(scannedTrue(body, member)).toBe(expected)
  })

  it('that is not there is no string and no flag', () => {
    expect(scannedString(Buffer.from('{}'), undefined)).toBeUndefined()
    expect(scannedTrue(Buffer.from('{}'), undefined)).toBe(false)
  })

  it.each([
    ['in the middle', '{ "a":"é" ,"model" : ', ', "z":[1.50] }'],
    ['at the beginning', '{"model":', ',"messages":[{"role":"user","content":"grüß dich, \\"dear\\" reader"}]}'],
    ['at the end', '{"messages":[{"role":"user","content":"grüß dich, \\"dear\\" reader"}],  "model":', ' }'],
    ['alone', '{"model":', '}'],
  ])('is replaced without touching another byte: %s', (_where, before, after) => {
    for (const value of ['gpt-5.5', 'openai-gpt-5.5', 'a', '', 'a model with a longer name than before', 'größer']) {
      const body = Buffer.from(`${before}"openai/gpt-5.5"${after}`)
      const member = scanMembers(body, ['model'])?.members.get('model')
      if (!member) throw new Error('the model was not found')
      expect(replaceMember(body, member, value).toString()).toBe(before + JSON.stringify(value) + after)
    }
  })

  it('is replaced in the memory of the body where it fits', () => {
    const body = Buffer.from(`{"model":"openai/gpt-5.5","padding":"${'x'.repeat(10_000)}"}`)
    const member = scanMembers(body, ['model'])?.members.get('model')
    if (!member) throw new Error('the model was not found')
    expect(replaceMember(body, member, 'gpt-5.5').buffer).toBe(body.buffer)
  })
})
