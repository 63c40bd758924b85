import { describe, expect, it } from 'vitest'
import { jsonObjectLength, parseJsonList, parseJsonObject } from '../../src/tools/json-object.ts'

describe('a JSON object', () => {
  it('is read unchanged', () => {
    expect(parseJsonObject(' {"a": [1, null]} ')).toEqual({ a: [1, null] })
  })

  // Seen: a file or an answer that .NET or a Windows editor wrote was "no JSON". Issue 1 of 6, C3.
  it('is read behind a byte order mark', () => {
    expect(parseJsonObject('\ufeff{"a": 1}')).toEqual({ a: 1 })
  })

  it.each(['', '{', '{"a":', '[]', '[{}]', 'null', '1', '"{}"', 'a=b', '{} {}'])('is not what %j holds', text => {
    expect(parseJsonObject(text)).toBeUndefined()
  })
})

describe('the JSON object at the beginning of a text', () => {
  it.each([
    ['{}', 2],
    [' {"a":{}}{', 9],
    ['{"a":"}\\"{\\\\"} tail', 14],
    ['\ufeff{"a":[1]}\n', 10],
  ])('of %j ends at %i', (text, length) => {
    expect(jsonObjectLength(text)).toBe(length)
  })

  it.each(['', 'x{}', '[{}]', '{"a":"}', '{"a":{}'])('is not there in %j', text => {
    expect(jsonObjectLength(text)).toBeUndefined()
  })
})

describe('a JSON list', () => {
  it.each([
    ['[1]', [1]],
    ['\ufeff [{}] ', [{}]],
    ['{}', undefined],
    ['[1', undefined],
    ['"[]"', undefined],
  ])('%j', (text, list) => {
    expect(parseJsonList(text)).toEqual(list)
  })
})
