import { describe, expect, it } from 'vitest'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { Unwritten } from '../../src/refresh/pending-writes.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { BreakableStore } from '../support/breakable-store.ts'

const profile = (token: string): StoredProfile => ({ id: 'p', provider: 'openai', credential: { type: 'token', token } })
const append = (letter: string) => (current: StoredProfile | undefined) =>
  current?.credential.type === 'token' ? profile(current.credential.token + letter) : current

function world() {
  const store = new BreakableStore(memoryStore([profile('-')]))
  return { store, unwritten: new Unwritten() }
}

describe('what the store could not take', () => {
  it('is laid over what it holds, in the order in which it came', () => {
    const { unwritten } = world()
    unwritten.hold('p', append('a'))
    unwritten.hold('p', append('b'))
    expect(unwritten.has('p')).toBe(true)
    expect(unwritten.profileIds).toEqual(['p'])
    expect(unwritten.over('p', profile('-'))).toEqual(profile('-ab'))
    expect(unwritten.over('other', profile('-'))).toEqual(profile('-'))
  })

  it('is written once, and then it is not held any more', async () => {
    const { store, unwritten } = world()
    unwritten.hold('p', append('a'))
    await unwritten.write('p', store)
    await unwritten.write('p', store)
    expect(unwritten.has('p')).toBe(false)
    expect(await store.read('p')).toEqual(profile('-a'))
  })

  it('is kept when the store refuses it again', async () => {
    const { store, unwritten } = world()
    unwritten.hold('p', append('a'))
    store.break(new Error('still full'), 'change')
    await expect(unwritten.write('p', store)).rejects.toThrow('still full')
    expect(unwritten.over('p', await store.read('p'))).toEqual(profile('-a'))
  })

  it('what comes while it is being written is not lost, even if two are writing', async () => {
    const { store, unwritten } = world()
    const first = Promise.withResolvers<void>()
    const second = Promise.withResolvers<void>()
    const gates = [first.promise, second.promise]
    store.beforeChange = () => gates.shift()
    unwritten.hold('p', append(''))
    const writers = [unwritten.write('p', store), unwritten.write('p', store)]
    first.resolve()
    await writers[0]
    unwritten.hold('p', append('b'))
    second.resolve()
    await writers[1]
    expect(unwritten.has('p')).toBe(true)
    await unwritten.write('p', store)
    expect(await store.read('p')).toEqual(profile('-b'))
  })
})
