import { describe, expect, it } from 'vitest'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { PendingWrites } from '../../src/refresh/pending-writes.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { BreakableStore } from '../support/breakable-store.ts'

const profile = (token: string): StoredProfile => ({ id: 'p', provider: 'openai', credential: { type: 'token', token } })
const append = (letter: string) => (current: StoredProfile | undefined) =>
  current?.credential.type === 'token' ? profile(current.credential.token + letter) : current

function world() {
  const store = new BreakableStore(memoryStore([profile('-')]))
  return { store, pendingWrites: new PendingWrites() }
}

describe('what the store could not take', () => {
  it('is laid over what it holds, in the order in which it came', () => {
    const { pendingWrites } = world()
    pendingWrites.hold('p', append('a'))
    pendingWrites.hold('p', append('b'))
    expect(pendingWrites.has('p')).toBe(true)
    expect(pendingWrites.profileIds).toEqual(['p'])
    expect(pendingWrites.over('p', profile('-'))).toEqual(profile('-ab'))
    expect(pendingWrites.over('other', profile('-'))).toEqual(profile('-'))
  })

  it('is written once, and then it is not held any more', async () => {
    const { store, pendingWrites } = world()
    pendingWrites.hold('p', append('a'))
    await pendingWrites.write('p', store)
    await pendingWrites.write('p', store)
    expect(pendingWrites.has('p')).toBe(false)
    expect(await store.read('p')).toEqual(profile('-a'))
  })

  it('is kept when the store refuses it again', async () => {
    const { store, pendingWrites } = world()
    pendingWrites.hold('p', append('a'))
    store.break(new Error('still full'), 'change')
    await expect(pendingWrites.write('p', store)).rejects.toThrow('still full')
    expect(pendingWrites.over('p', await store.read('p'))).toEqual(profile('-a'))
  })

  it('what comes while it is being written is not lost, even if two are writing', async () => {
    const { store, pendingWrites } = world()
    const first = Promise.withResolvers<void>()
    const second = Promise.withResolvers<void>()
    const gates = [first.promise, second.promise]
    store.beforeChange = () => gates.shift()
    pendingWrites.hold('p', append(''))
    const writers = [pendingWrites.write('p', store), pendingWrites.write('p', store)]
    first.resolve()
    await writers[0]
    pendingWrites.hold('p', append('b'))
    second.resolve()
    await writers[1]
    expect(pendingWrites.has('p')).toBe(true)
    await pendingWrites.write('p', store)
    expect(await store.read('p')).toEqual(profile('-b'))
  })
})
