import { describe, expect, it } from 'vitest'
import { parseJsonObject } from '../../src/tools/json-object.ts'

describe('a JSON object', () => {
  it('is read as it is', () => {
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
