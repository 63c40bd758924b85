import { describe, expect, it } from 'vitest'
import { memoryStore } from '../../src/store/memory-store.ts'
import { profileStoreContract } from '../contracts/profile-store.ts'
import { oauthProfile } from './fixtures/rotate.ts'

profileStoreContract('the memory store', async () => memoryStore())

describe('the memory store', () => {
  it('begins with the profiles it is given', async () => {
    const store = memoryStore([oauthProfile('a', 1), oauthProfile('b', 2), oauthProfile('a', 3)])
    expect(await store.list()).toEqual([oauthProfile('a', 3), oauthProfile('b', 2)])
  })

  it('refuses to begin with a profile that could not be stored', () => {
    expect(() => memoryStore([{ ...oauthProfile('a'), provider: '' }])).toThrow(/provider is missing or of the wrong type/)
  })
})
