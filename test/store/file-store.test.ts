import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileStore } from '../../src/store/file-store.ts'
import { profileStoreContract } from '../contracts/profile-store.ts'
import { stateFolder } from '../support/clean-up.ts'
import { generationOf, oauthProfile, rotate } from './fixtures/rotate.ts'
import { openStore } from './open-store.ts'

profileStoreContract('the file store', async () => openStore(stateFolder()))

const ID = 'openai-codex:me@example.com'
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

function document(profiles: Record<string, unknown>, revision = 1): string {
  return JSON.stringify({ format: 'gatewatch-profiles', version: 1, revision, profiles })
}

describe('the files of a file store', () => {
  it('only their owner can read them, the database files too', async () => {
    const folder = stateFolder()
    const store = openStore(folder)
    await store.change(ID, () => oauthProfile(ID))
    await store.lease(ID, { waitMs: 0 })
    expect(modeOf(folder)).toBe('700')
    expect(readdirSync(folder).sort()).toEqual(['leases.sqlite', 'locks.sqlite', 'profiles.json'])
    for (const file of readdirSync(folder)) expect([file, modeOf(join(folder, file))]).toEqual([file, '600'])
  })

  it('a file that others can read is tightened as soon as it is read', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    for (const file of ['profiles.json', 'locks.sqlite', 'leases.sqlite']) writeFileSync(join(folder, file), '')
    writeFileSync(join(folder, 'profiles.json'), document({ [ID]: oauthProfile(ID, 3) }))
    for (const file of readdirSync(folder)) chmodSync(join(folder, file), 0o664)
    const store = openStore(folder)
    expect(generationOf(await store.read(ID))).toBe(3)
    expect(modeOf(join(folder, 'profiles.json'))).toBe('600')
    await store.change(ID, current => current)
    await store.lease(ID, { waitMs: 0 })
    for (const file of readdirSync(folder)) expect([file, modeOf(join(folder, file))]).toEqual([file, '600'])
  })

  it('reading alone creates nothing', async () => {
    const folder = stateFolder()
    expect(await openStore(folder).list()).toEqual([])
    expect(() => statSync(folder)).toThrow(/ENOENT/)
  })

  it('the file says what it is and counts its changes; a change that changes nothing is not written', async () => {
    const folder = stateFolder()
    const store = openStore(folder)
    await store.change('a', () => oauthProfile('a'))
    await store.change('b', () => oauthProfile('b'))
    const before = statSync(join(folder, 'profiles.json'))
    await store.change('b', current => current)
    await store.change('nobody', () => undefined)
    const after = statSync(join(folder, 'profiles.json'))
    expect([after.ino, after.mtimeMs]).toEqual([before.ino, before.mtimeMs])
    expect(JSON.parse(readFileSync(join(folder, 'profiles.json'), 'utf8'))).toEqual({
      format: 'gatewatch-profiles',
      version: 1,
      revision: 2,
      profiles: { a: oauthProfile('a'), b: oauthProfile('b') },
    })
  })

  it('keys that this version does not know are kept', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    const profile = { ...oauthProfile('a'), nickname: 'work' }
    writeFileSync(join(folder, 'profiles.json'), JSON.stringify({ ...JSON.parse(document({ a: profile })), note: 'by hand' }))
    await openStore(folder).change('b', () => oauthProfile('b'))
    expect(JSON.parse(readFileSync(join(folder, 'profiles.json'), 'utf8'))).toMatchObject({
      note: 'by hand',
      profiles: { a: { nickname: 'work' } },
    })
  })

  it('no profile id stands in the lock files', async () => {
    const folder = stateFolder()
    const store = openStore(folder)
    await store.change(ID, () => oauthProfile(ID))
    await store.lease(ID, { waitMs: 0 })
    for (const file of ['locks.sqlite', 'leases.sqlite']) expect(readFileSync(join(folder, file), 'latin1')).not.toContain('example.com')
  })

  it('times that make no sense are refused before anything is opened', () => {
    expect(() => fileStore('x', { leaseTtlMs: 5 })).toThrow(RangeError)
    expect(() => fileStore('x', { leaseTtlMs: Number.NaN })).toThrow(RangeError)
    expect(() => fileStore('x', { changeWaitMs: -1 })).toThrow(RangeError)
  })
})

describe('reading a file store', () => {
  it('read answers from memory and looks at the file only every quarter of a second; reload looks every time', async () => {
    const folder = stateFolder()
    let now = 0
    const reader = openStore(folder, { clock: { monotonic: () => now } })
    const writer = openStore(folder)
    await writer.change(ID, rotate(ID))
    expect(generationOf(await reader.read(ID))).toBe(1)
    await writer.change(ID, rotate(ID))
    now += 249
    expect(generationOf(await reader.read(ID))).toBe(1)
    now += 1
    expect(generationOf(await reader.read(ID))).toBe(2)
    await writer.change(ID, rotate(ID))
    expect(generationOf(await reader.reload(ID))).toBe(3)
    expect(generationOf(await reader.read(ID))).toBe(3)
  })

  it('while the file is unchanged it is not even opened again', async () => {
    const folder = stateFolder()
    let now = 0
    const store = openStore(folder, { clock: { monotonic: () => now } })
    await store.change(ID, rotate(ID))
    const first = await store.read(ID)
    now += 10_000
    expect(await store.read(ID)).toBe(first) // the same object: it was not parsed again
    expect(await store.reload(ID)).not.toBe(first)
  })

  it('a file removed or put in place by hand is noticed', async () => {
    const folder = stateFolder()
    let now = 0
    const store = openStore(folder, { clock: { monotonic: () => now } })
    await store.change(ID, rotate(ID))
    rmSync(join(folder, 'profiles.json'))
    now += 250
    expect(await store.read(ID)).toBeUndefined()
    writeFileSync(join(folder, 'profiles.json'), document({ [ID]: oauthProfile(ID, 8) }))
    now += 250
    expect(generationOf(await store.read(ID))).toBe(8)
  })

  it('a folder that was removed under a running store is made again', async () => {
    const folder = stateFolder()
    const store = openStore(folder)
    await store.change(ID, rotate(ID))
    rmSync(folder, { recursive: true })
    expect(generationOf(await store.change(ID, rotate(ID)))).toBe(1)
    expect(generationOf(await openStore(folder).read(ID))).toBe(1)
  })
})

describe('a profile file that is not as it should be', () => {
  const good = document({ [ID]: oauthProfile(ID, 3) })
  const secret = 'refresh-3'
  it.each([
    ['is cut in half', good.slice(0, good.length / 2), 'GW_STORE_DAMAGED'],
    ['is cut inside a token', good.slice(0, good.indexOf(secret) + 4), 'GW_STORE_DAMAGED'],
    ['is empty', '', 'GW_STORE_DAMAGED'],
    ['is not JSON', `refresh_token=${secret}`, 'GW_STORE_DAMAGED'],
    ['is a JSON list', '[]', 'GW_STORE_DAMAGED'],
    ['belongs to another program', JSON.stringify({ tokens: { refresh_token: secret } }), 'GW_STORE_DAMAGED'],
    ['has a version that is no number', good.replace('"version":1', '"version":"1"'), 'GW_STORE_DAMAGED'],
    ['has no revision', good.replace('"revision":1,', ''), 'GW_STORE_DAMAGED'],
    ['has a list of profiles', document([] as unknown as Record<string, unknown>), 'GW_STORE_DAMAGED'],
    ['has a generation that is text', good.replace('"generation":3', '"generation":"3"'), 'GW_STORE_DAMAGED'],
    ['has a refresh token that is a list', good.replace(`"${secret}"`, `["${secret}"]`), 'GW_STORE_DAMAGED'],
    ['has a credential of an unknown type', good.replace('"oauth"', `"${secret}"`), 'GW_STORE_DAMAGED'],
    ['has a profile under another id', document({ 'other:id': oauthProfile(ID, 3) }), 'GW_STORE_DAMAGED'],
    ['was written by a later version', good.replace('"version":1', '"version":2'), 'GW_STORE_NEWER'],
    [
      'was written by a later version in another shape',
      good.replace('"version":1', '"version":2').replace('"profiles"', '"p"'),
      'GW_STORE_NEWER',
    ],
  ])('one that %s is named, told what to do about, and left as it is byte for byte', async (_, content, code) => {
    const folder = stateFolder()
    mkdirSync(folder)
    const path = join(folder, 'profiles.json')
    writeFileSync(path, content)
    const before = statSync(path)
    const store = openStore(folder)
    const errors = [
      await store.read(ID).catch((error: unknown) => error),
      await store.reload(ID).catch((error: unknown) => error),
      await store.list().catch((error: unknown) => error),
      await store.change(ID, rotate(ID)).catch((error: unknown) => error),
      await store.change(ID, () => undefined).catch((error: unknown) => error),
    ]
    for (const error of errors) {
      expect(error).toMatchObject({ code, next: code === 'GW_STORE_NEWER' ? 'upgrade_gatewatch' : 'restore_store' })
      expect(String(error)).toContain(path)
      const { message, stack, cause } = error as Error
      for (const told of [message, stack, String(cause)]) {
        expect(told).not.toContain(secret)
        expect(told).not.toContain('example.com')
      }
    }
    expect(readFileSync(path, 'utf8')).toBe(content)
    expect([statSync(path).ino, statSync(path).mtimeMs]).toEqual([before.ino, before.mtimeMs])
    expect(readdirSync(folder).sort()).toEqual(['locks.sqlite', 'profiles.json'])
  })

  it('once it is restored the same store goes on', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    writeFileSync(join(folder, 'profiles.json'), good.slice(0, 40))
    const store = openStore(folder)
    await expect(store.change(ID, rotate(ID))).rejects.toMatchObject({ code: 'GW_STORE_DAMAGED' })
    writeFileSync(join(folder, 'profiles.json'), good)
    expect(generationOf(await store.change(ID, rotate(ID)))).toBe(4)
  })

  it('something that is no file is unreadable, not empty', async () => {
    const folder = stateFolder()
    mkdirSync(join(folder, 'profiles.json'), { recursive: true })
    await expect(openStore(folder).read(ID)).rejects.toMatchObject({ code: 'GW_STORE_UNREADABLE' })
    await expect(openStore(folder).change(ID, rotate(ID))).rejects.toMatchObject({ code: 'GW_STORE_UNREADABLE' })
  })

  it.each(['locks.sqlite', 'leases.sqlite'])('a %s that is no database is reported and left alone', async file => {
    const folder = stateFolder()
    mkdirSync(folder)
    const path = join(folder, file)
    writeFileSync(path, 'this is not a database')
    const store = openStore(folder)
    const attempt = file === 'locks.sqlite' ? store.change(ID, rotate(ID)) : store.lease(ID, { waitMs: 1_000 })
    const error = await attempt.catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_STORE_DAMAGED', next: 'restore_store' })
    expect(String(error)).toContain(path)
    expect(String(error)).toContain('no tokens')
    expect(readFileSync(path, 'utf8')).toBe('this is not a database')
    expect(await store.read(ID)).toBeUndefined()
  })

  it('a leases.sqlite with tables of somebody else is reported', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite')
    const foreign = new DatabaseSync(join(folder, 'leases.sqlite'))
    foreign.exec('CREATE TABLE leases (flat TEXT)')
    foreign.close()
    await expect(openStore(folder).lease(ID, { waitMs: 0 })).rejects.toMatchObject({ code: 'GW_STORE_DAMAGED' })
  })
})

describe('what a change finds beside the file', () => {
  const current = document({ [ID]: oauthProfile(ID, 4) }, 4)
  it.each([
    ['the next state, complete: it is taken over', document({ [ID]: oauthProfile(ID, 5) }, 5), 5, ['locks.sqlite', 'profiles.json']],
    ['half a state: it is removed', document({ [ID]: oauthProfile(ID, 5) }, 5).slice(0, 120), 4, ['locks.sqlite', 'profiles.json']],
    ['nothing in it: it is removed', '', 4, ['locks.sqlite', 'profiles.json']],
    [
      'a complete state that does not follow: it is put aside',
      document({ [ID]: oauthProfile(ID, 9) }, 9),
      4,
      ['locks.sqlite', 'profiles.json', 'profiles.json.next-revision-9'],
    ],
  ])('%s', async (_, next, generation, files) => {
    const folder = stateFolder()
    mkdirSync(folder)
    writeFileSync(join(folder, 'profiles.json'), current)
    writeFileSync(join(folder, 'profiles.json.next'), next)
    expect(generationOf(await openStore(folder).reload(ID))).toBe(generation)
    expect(readdirSync(folder).sort()).toEqual(files)
    expect(generationOf(await openStore(folder).change(ID, rotate(ID)))).toBe(generation + 1)
  })

  it('a state of a later version is left alone, and so is the file', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    const next = document({}, 5).replace('"version":1', '"version":2')
    writeFileSync(join(folder, 'profiles.json'), current)
    writeFileSync(join(folder, 'profiles.json.next'), next)
    const error = await openStore(folder)
      .change(ID, rotate(ID))
      .catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_STORE_NEWER' })
    expect(String(error)).toContain(join(folder, 'profiles.json.next'))
    expect(readFileSync(join(folder, 'profiles.json'), 'utf8')).toBe(current)
    expect(readFileSync(join(folder, 'profiles.json.next'), 'utf8')).toBe(next)
  })

  it('beside a damaged file even a complete state is left alone', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    const next = document({ [ID]: oauthProfile(ID, 5) }, 5)
    writeFileSync(join(folder, 'profiles.json'), current.slice(0, 50))
    writeFileSync(join(folder, 'profiles.json.next'), next)
    await expect(openStore(folder).change(ID, rotate(ID))).rejects.toMatchObject({ code: 'GW_STORE_DAMAGED' })
    expect(readFileSync(join(folder, 'profiles.json.next'), 'utf8')).toBe(next)
  })
})
