import { describe, expect, it } from 'vitest'
import { parseJsonObject } from '../../src/tools/json-object.ts'

describe('a JSON object', () => {
  it('is read as it is', () => {
    expect(parseJsonObject(' {"a": [1, null]} ')).toEqual({ a: [1, null] })
  })

  it.each(['', '{', '{"a":', '[]', '[{}]', 'null', '1', '"{}"', 'a=b', '{} {}'])('is not what %j holds', text => {
    expect(parseJsonObject(text)).toBeUndefined()
  })
})
