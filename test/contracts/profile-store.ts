import { afterEach, describe, expect, it } from 'vitest'
import type { StoredProfile } from '../../src/domain/credential.ts'
import type { ProfileStore, StoredRest } from '../../src/store/profile-store.ts'
import { generationOf, oauthProfile, rotate } from '../store/fixtures/rotate.ts'

const ID = 'openai-codex:me@example.com'
const UNTIL = Date.now() + 3_600_000

/**
 * What every profile store does.
 *
 * @param open Makes a fresh, empty store; closed by the suite.
 */
export function profileStoreContract(name: string, open: () => Promise<ProfileStore>): void {
  const opened: ProfileStore[] = []
  const freshStore = async () => {
    const store = await open()
    opened.push(store)
    return store
  }
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close()
  })

  describe(`${name} keeps the contract of a profile store`, () => {
    it('a fresh store is empty', async () => {
      const store = await freshStore()
      expect(await store.read(ID)).toBeUndefined()
      expect(await store.reload(ID)).toBeUndefined()
      expect(await store.list()).toEqual([])
    })

    describe('rests', () => {
      const rest = (more: Partial<StoredRest> = {}): StoredRest => ({
        profileId: ID,
        cause: 'service',
        since: 1_000,
        until: UNTIL,
        because: 'rate_limit',
        isPromised: true,
        consecutiveFailures: 2,
        credential: { bearer: 'f', generation: 3, refresh: 'r', account: 'a' },
        answer: { status: 429, type: 'requests', code: 'rate_limit_exceeded' },
        ...more,
      })
      const freshRests = async () => {
        const { rests } = await freshStore()
        if (!rests) throw new Error('the store shares no rests')
        return rests
      }

      it('come back as they went in, and once for each change', async () => {
        const rests = await freshRests()
        const first = await rests.changed(undefined)
        expect(first?.rests).toEqual([])
        expect(await rests.changed(first?.seen)).toBeUndefined()
        const both = [rest(), rest({ cause: 'credential', because: 'auth' }), rest({ model: 'gpt-5.5' })]
        expect(await rests.change(ID, () => both)).toEqual(both)
        const second = await rests.changed(first?.seen)
        expect(second?.rests).toHaveLength(3)
        expect(second?.rests).toEqual(expect.arrayContaining(both))
        expect(await rests.changed(second?.seen)).toBeUndefined()
      })

      it('of one profile are changed alone, and by what is there', async () => {
        const rests = await freshRests()
        await rests.change(ID, () => [rest()])
        await rests.change('other', () => [rest({ profileId: 'other' })])
        expect(await rests.change(ID, current => current)).toEqual([rest()])
        expect(await rests.change(ID, () => [])).toEqual([])
        expect((await rests.changed(undefined))?.rests).toMatchObject([{ profileId: 'other' }])
      })
    })

    it('what a change returns is there for read, reload and list', async () => {
      const store = await freshStore()
      const stored = await store.change(ID, () => oauthProfile(ID))
      expect(stored).toEqual(oauthProfile(ID))
      expect(await store.read(ID)).toEqual(stored)
      expect(await store.reload(ID)).toEqual(stored)
      expect(await store.list()).toEqual([stored])
    })

    it.each([
      ['an API key', { type: 'api_key', key: 'k' }],
      ['a static token that expires', { type: 'token', token: 't', expiresAt: 5 }],
      ['an OAuth grant that lost its refresh token', { type: 'oauth', access: 'a', generation: 3 }],
    ] as const)('%s comes back as it went in', async (_, credential) => {
      const store = await freshStore()
      const profile: StoredProfile = {
        id: ID,
        provider: 'p',
        credential,
        pending: { refreshFingerprint: 'f', sentAt: 1, pid: 2 },
        needsLogin: { outcome: 'invalidated', since: 3, providerCode: 'refresh_token_reused' },
        rotatedAway: ['a1', 'b2'],
        heldBefore: ['c3', 'd4'],
      }
      await store.change(ID, () => profile)
      expect(await store.reload(ID)).toEqual(profile)
    })

    it.each(['__proto__', 'constructor', 'a b/c\\"d', 'ключ:日本'])('a profile may be called %s', async id => {
      const store = await freshStore()
      await store.change(id, () => oauthProfile(id, 7))
      await store.change('other', () => oauthProfile('other'))
      expect(generationOf(await store.reload(id))).toBe(7)
      expect((await store.list()).map(profile => profile.id).sort()).toEqual([id, 'other'].sort())
    })

    it('a change sees what is stored, and touches no other profile', async () => {
      const store = await freshStore()
      await store.change('a', () => oauthProfile('a', 4))
      await store.change('b', () => oauthProfile('b', 9))
      await store.change('a', rotate('a'))
      expect(generationOf(await store.read('a'))).toBe(5)
      expect(generationOf(await store.read('b'))).toBe(9)
    })

    it('an update that returns the same object leaves everything unchanged', async () => {
      const store = await freshStore()
      await store.change(ID, () => oauthProfile(ID, 2))
      expect(await store.change(ID, current => current)).toEqual(oauthProfile(ID, 2))
      expect(await store.change('missing', current => current)).toBeUndefined()
      expect(await store.list()).toEqual([oauthProfile(ID, 2)])
    })

    it('an update that returns undefined removes the profile', async () => {
      const store = await freshStore()
      await store.change(ID, () => oauthProfile(ID))
      expect(await store.change(ID, () => undefined)).toBeUndefined()
      expect(await store.reload(ID)).toBeUndefined()
      expect(await store.list()).toEqual([])
    })

    it('an update that throws changes nothing and delays no other update', async () => {
      const store = await freshStore()
      await store.change(ID, () => oauthProfile(ID, 1))
      const failing = store.change(ID, () => {
        throw new Error('no')
      })
      await expect(failing).rejects.toThrow('no')
      expect(generationOf(await store.change(ID, rotate(ID)))).toBe(2)
    })

    it.each([
      ['another id', { ...oauthProfile('another') }],
      ['an expiry that is no number', { ...oauthProfile(ID), credential: { type: 'oauth', generation: 1, expiresAt: Number.NaN } }],
      ['no provider', { ...oauthProfile(ID), provider: '' }],
    ] as [string, StoredProfile][])('an update that returns %s is refused and nothing is changed', async (_, wrong) => {
      const store = await freshStore()
      await store.change(ID, () => oauthProfile(ID, 1))
      await expect(store.change(ID, () => wrong)).rejects.toThrow(TypeError)
      expect(await store.reload(ID)).toEqual(oauthProfile(ID, 1))
    })

    it('what is stored cannot be changed from outside', async () => {
      const store = await freshStore()
      const mine = { ...oauthProfile(ID, 1), credential: { type: 'oauth' as const, refresh: 'good', generation: 1 } }
      const stored = await store.change(ID, () => mine)
      mine.credential.refresh = 'spoiled'
      expect(() => Object.assign(stored?.credential ?? {}, { refresh: 'spoiled' })).toThrow(TypeError)
      expect(await store.read(ID)).toMatchObject({ credential: { refresh: 'good' } })
    })

    it('of fifty changes at once none is lost', async () => {
      const store = await freshStore()
      await Promise.all(Array.from({ length: 50 }, (_, index) => store.change(index % 2 ? 'a' : 'b', rotate(index % 2 ? 'a' : 'b'))))
      expect(generationOf(await store.reload('a'))).toBe(25)
      expect(generationOf(await store.reload('b'))).toBe(25)
    })

    it('one at a time holds the lease of a profile', async () => {
      const store = await freshStore()
      let inside = 0
      const crowds: number[] = []
      const acquire = async () => {
        const lease = await store.lease(ID, { waitMs: 20_000 })
        inside += 1
        crowds.push(inside)
        await new Promise(resolve => setTimeout(resolve, 1))
        inside -= 1
        await lease.release()
      }
      await Promise.all(Array.from({ length: 20 }, acquire))
      expect(crowds).toEqual(Array.from({ length: 20 }, () => 1))
    })

    it('a lease is confirmed while it is held, and not when it was given back', async () => {
      const store = await freshStore()
      const lease = await store.lease(ID, { waitMs: 0 })
      expect([lease.confirm(), lease.confirm(), lease.mayGoOn()]).toEqual([true, true, false])
      await lease.release()
      expect(lease.confirm()).toBe(false)
      const next = await store.lease(ID, { waitMs: 0 })
      expect([lease.confirm(), next.confirm(), next.mayGoOn()]).toEqual([false, true, false])
    })

    it('leases of different profiles do not wait for each other', async () => {
      const store = await freshStore()
      const first = await store.lease('a', { waitMs: 0 })
      const second = await store.lease('b', { waitMs: 0 })
      expect([first.lost.aborted, second.lost.aborted]).toEqual([false, false])
    })

    it('a holder may change the profile it holds the lease of', async () => {
      const store = await freshStore()
      const lease = await store.lease(ID, { waitMs: 0 })
      expect(generationOf(await store.change(ID, rotate(ID)))).toBe(1)
      await lease.release()
    })

    it('a caller that waits too long learns which process holds the lease, and no profile id', async () => {
      const store = await freshStore()
      await store.lease(ID, { waitMs: 0 })
      const error = await store.lease(ID, { waitMs: 20 }).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'GW_LEASE_TIMEOUT', next: 'try_again_later' })
      expect(String(error)).toContain(`process ${process.pid}`)
      expect(String(error)).not.toContain('example.com')
    })

    it('who leaves while waiting, or before, gets nothing and takes nothing with him', async () => {
      const store = await freshStore()
      const held = await store.lease(ID, { waitMs: 0 })
      const caller = new AbortController()
      const waiting = store.lease(ID, { waitMs: 20_000, signal: caller.signal })
      caller.abort(new Error('gone'))
      await expect(waiting).rejects.toMatchObject({ code: 'GW_ACQUIRE_ABORTED', cause: { message: 'gone' } })
      await held.release()
      await expect(store.lease(ID, { waitMs: 0, signal: caller.signal })).rejects.toMatchObject({ code: 'GW_ACQUIRE_ABORTED' })
      await (await store.lease(ID, { waitMs: 0 })).release()
    })

    it('releasing twice does not take the lease away from the next holder', async () => {
      const store = await freshStore()
      const first = await store.lease(ID, { waitMs: 0 })
      await first.release()
      const second = await store.lease(ID, { waitMs: 0 })
      await first.release()
      await expect(store.lease(ID, { waitMs: 20 })).rejects.toMatchObject({ code: 'GW_LEASE_TIMEOUT' })
      expect(second.lost.aborted).toBe(false)
    })

    it('closing notifies the holder, ends the waiting, and nothing works afterwards', async () => {
      const store = await freshStore()
      const held = await store.lease(ID, { waitMs: 0 })
      const waiting = store.lease(ID, { waitMs: 20_000 })
      const reported = expect(waiting).rejects.toMatchObject({ code: 'GW_CLOSED' })
      await store.close()
      await reported
      expect([held.lost.aborted, held.confirm()]).toEqual([true, false])
      await held.release()
      const closed = { code: 'GW_CLOSED' }
      await expect(store.read(ID)).rejects.toMatchObject(closed)
      await expect(store.reload(ID)).rejects.toMatchObject(closed)
      await expect(store.list()).rejects.toMatchObject(closed)
      await expect(store.change(ID, () => oauthProfile(ID))).rejects.toMatchObject(closed)
      await expect(store.lease(ID, { waitMs: 0 })).rejects.toMatchObject(closed)
      await store.close()
    })
  })
}
