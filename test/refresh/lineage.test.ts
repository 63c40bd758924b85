import { describe, expect, it } from 'vitest'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { Lineage } from '../../src/refresh/lineage.ts'

const print = (token: string) => fingerprint(token) ?? ''
const profile = (id: string, refresh: string, ...gone: string[]): StoredProfile => ({
  id,
  provider: 'openai-codex',
  credential: { type: 'oauth', refresh, generation: gone.length },
  rotatedAway: gone.map(print),
})

describe('the lineage of refresh tokens', () => {
  it('knows whose the current token is, and whose the rotated ones were', () => {
    const lineage = new Lineage()
    lineage.learn(profile('a', 'rt-3', 'rt-2', 'rt-1'))
    lineage.learn(profile('b', 'other'))
    expect(['rt-1', 'rt-2', 'rt-3', 'other', 'never seen'].map(token => lineage.of(print(token)))).toEqual([
      { profileId: 'a', rotatedAway: true },
      { profileId: 'a', rotatedAway: true },
      { profileId: 'a', rotatedAway: false },
      { profileId: 'b', rotatedAway: false },
      undefined,
    ])
  })

  it('a token that was current is rotated away with the next one', () => {
    const lineage = new Lineage()
    lineage.learn(profile('a', 'rt-1'))
    lineage.learn(profile('a', 'rt-2', 'rt-1'))
    expect(lineage.of(print('rt-1'))).toEqual({ profileId: 'a', rotatedAway: true })
  })

  it('knows everybody who holds a token or lists it, and takes it for current where one holds it', () => {
    const lineage = new Lineage()
    lineage.list([profile('a', 'rt-2', 'rt-1'), profile('b', 'rt-1'), profile('c', '')])
    expect(['rt-1', 'rt-2', 'rt-3', ''].map(token => lineage.holders(print(token)))).toEqual([['a', 'b'], ['a'], [], []])
    expect(lineage.of(print('rt-1'))).toEqual({ profileId: 'b', rotatedAway: false })
  })

  it('follows what is listed: rotations, new profiles, logins, profiles that are gone', () => {
    const lineage = new Lineage()
    lineage.list([profile('a', 'rt-1'), profile('b', 'other')])
    lineage.list([profile('a', 'rt-2', 'rt-1'), profile('c', 'third')])
    expect(['rt-1', 'rt-2', 'other', 'third'].map(token => lineage.holders(print(token)))).toEqual([['a'], ['a'], [], ['c']])
    expect(lineage.of(print('other'))).toEqual({ profileId: 'b', rotatedAway: false })
    lineage.list([profile('a', 'fresh'), { id: 'c', provider: 'openai', credential: { type: 'api_key', key: 'third' } }])
    expect(['rt-1', 'rt-2', 'fresh', 'third'].map(token => lineage.holders(print(token)))).toEqual([[], [], ['a'], []])
    expect(lineage.of(print('rt-1'))).toEqual({ profileId: 'a', rotatedAway: true })
  })

  it('still knows a token that the store has not taken yet when it is listed again', () => {
    const lineage = new Lineage()
    lineage.list([profile('a', 'rt-1')])
    lineage.learn(profile('a', 'rt-2', 'rt-1'))
    lineage.list([profile('a', 'rt-1')])
    expect([lineage.of(print('rt-1')), lineage.of(print('rt-2'))]).toEqual([
      { profileId: 'a', rotatedAway: false },
      { profileId: 'a', rotatedAway: false },
    ])
  })

  it('learns nothing from what cannot rotate', () => {
    const lineage = new Lineage()
    lineage.learn({ id: 'k', provider: 'openai', credential: { type: 'api_key', key: 'rt-1' } })
    lineage.learn({ id: 'e', provider: 'openai-codex', credential: { type: 'oauth', generation: 0 } })
    expect(lineage.of(print('rt-1'))).toBeUndefined()
  })

  it('forgets the oldest first when there are very many', () => {
    const lineage = new Lineage()
    for (let index = 0; index <= 20_000; index += 1) {
      lineage.learn({ id: 'a', provider: 'p', credential: { type: 'oauth', refresh: `rt-${index}`, generation: index } })
    }
    expect(lineage.of(print('rt-0'))).toBeUndefined()
    expect(lineage.of(print('rt-1'))).toBeDefined()
    expect(lineage.of(print('rt-20000'))).toBeDefined()
  })
})
