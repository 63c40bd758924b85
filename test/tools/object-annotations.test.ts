import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import { objectAnnotations } from '../../src/tools/object-annotations.ts'

it.each([
  ['a plain object', () => ({ method: 'POST' })],
  ['a frozen object', () => Object.freeze({ method: 'POST' })],
  ['an object behind a proxy', () => new Proxy({ method: 'POST' }, {})],
])('a note about %s is read, replaced and dropped, and no other caller sees it', (_kind, make) => {
  const notes = objectAnnotations<string>()
  const others = objectAnnotations<string>()
  const object = make()
  expect(notes.of(object)).toBeUndefined()
  notes.put(object, 'first')
  notes.put(object, 'second')
  others.put(object, 'of another caller')
  expect(notes.of(object)).toBe('second')
  expect(Reflect.ownKeys(object)).toEqual(['method'])
  expect(inspect(object, { showHidden: true })).toBe(inspect(make(), { showHidden: true }))
  notes.drop(object)
  expect(notes.of(object)).toBeUndefined()
  expect(others.of(object)).toBe('of another caller')
})
