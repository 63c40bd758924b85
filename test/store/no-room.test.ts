import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { generationOf, oauthProfile, rotate } from './fixtures/rotate.ts'
import { profileFile, stored } from './fixtures/stored.ts'
import { openStore } from './open-store.ts'

const ID = 'openai-codex:me@example.com'

/** Mounts a small file system of its own; `undefined` where this user may not (only root may, and not everywhere). */
function smallDisk(): string | undefined {
  const folder = stateFolder()
  mkdirSync(folder)
  if (process.platform !== 'linux' || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=192k,mode=700', 'tmpfs', folder]).status !== 0)
    return undefined
  afterwards(() => spawnSync('umount', [folder]))
  return folder
}

const NEEDS_MOUNT = 'mounting a file system is not permitted here (needs root on Linux)'

function bigProfile() {
  const profile = oauthProfile('big')
  return { ...profile, credential: { ...profile.credential, access: 'x'.repeat(200_000) } }
}

describe('a disk without room', () => {
  it('refuses the change, says so, keeps the old content, and takes the change once there is room', async context => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const store = openStore(folder)
    await store.change(ID, rotate(ID))
    const before = stored(folder)
    const error = await store.change('big', bigProfile).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_STORE_UNWRITABLE', next: 'free_disk_space', cause: { code: 'SQLITE_FULL' } })
    expect(String(error)).toContain(profileFile(folder))
    expect(stored(folder)).toEqual(before)
    expect(generationOf(await store.change(ID, rotate(ID)))).toBe(2)
  })

  it('refuses the lease too: a token that cannot be stored must not be rotated', async context => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const store = openStore(folder)
    await store.change(ID, rotate(ID))
    fill(join(folder, 'ballast'))
    const error = await store.lease(ID, { waitMs: 1_000 }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_STORE_UNWRITABLE', next: 'free_disk_space' })
    expect(String(error)).toContain(join(folder, 'leases.sqlite'))
    expect(generationOf(await store.reload(ID))).toBe(1)
  })
})

describe('a folder that cannot be written', () => {
  it('on a read-only file system can be read; a change and a lease are refused, naming the file', async context => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const writer = openStore(folder)
    await writer.change(ID, rotate(ID))
    await writer.close() // a file that is open for writing keeps the file system writable
    expect(spawnSync('mount', ['-o', 'remount,ro', folder]).status).toBe(0)
    const store = openStore(folder)
    expect(generationOf(await store.reload(ID))).toBe(1)
    for (const attempt of [() => store.change(ID, rotate(ID)), () => store.lease(ID, { waitMs: 1_000 })]) {
      const error = await attempt().catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'GW_STORE_UNWRITABLE', next: 'fix_permissions' })
      expect(String(error)).toContain(folder)
    }
    expect(generationOf(await store.reload(ID))).toBe(1)
  })

  it('because it is a file is neither read as empty nor written', async () => {
    const folder = stateFolder()
    mkdirSync(dirname(folder), { recursive: true })
    writeFileSync(folder, 'I am a file')
    const store = openStore(folder)
    await expect(store.read(ID)).rejects.toMatchObject({ code: 'GW_STORE_UNREADABLE', next: 'fix_permissions' })
    for (const attempt of [() => store.change(ID, rotate(ID)), () => store.lease(ID, { waitMs: 1_000 })]) {
      const error = await attempt().catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'GW_STORE_UNWRITABLE', next: 'fix_permissions' })
      expect(String(error)).toContain(folder)
    }
    expect(readFileSync(folder, 'utf8')).toBe('I am a file')
  })
})

/** Writes until nothing fits any more. */
function fill(path: string): void {
  let text = ''
  try {
    for (;;) {
      text += 'x'.repeat(4096)
      writeFileSync(path, text)
    }
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' })
  }
}
