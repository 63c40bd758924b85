import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileStore } from '../../src/store/file-store.ts'
import { readNamedFile, readOwnFile, stateFolderAt } from '../../src/store/own-files.ts'
import { stateFolder } from '../support/clean-up.ts'
import { generationOf, rotate } from './fixtures/rotate.ts'
import { openStore } from './open-store.ts'

const USER = process.geteuid?.() ?? -1
const FILES = ['profiles.sqlite', 'profiles.sqlite-wal', 'leases.sqlite'] as const

/** A state folder with profiles, closed, with every file that a store may open. */
async function folderWithState(): Promise<string> {
  const folder = stateFolder()
  const store = fileStore(folder)
  await store.change('a', rotate('a'))
  await (await store.lease('a', { waitMs: 0 })).release()
  await store.close()
  return folder
}

async function attempts(folder: string): Promise<unknown[]> {
  const store = openStore(folder, { changeWaitMs: 1_000 })
  const caught = (error: unknown) => error
  return [
    await store.read('a').catch(caught),
    await store.list().catch(caught),
    await store.reload('a').catch(caught),
    await store.change('a', rotate('a')).catch(caught),
    await store.lease('a', { waitMs: 0 }).catch(caught),
  ]
}

function expectRefusals(errors: readonly unknown[], message: RegExp): void {
  for (const error of errors) {
    expect(error).toMatchObject({ code: 'GW_STORE_UNREADABLE', next: 'fix_permissions' })
    expect(String(error)).toMatch(message)
  }
}

// Seen: a state folder of another user, one that everybody could write to, and a symbolic link in place of the database were used
// as they were (written through, chmodded); a FIFO in the place of a file hung the process.
// Why: files were opened by their path without a look at what is there.
// The fix: folder and files must belong to this user alone. Issue 1, B3.
describe.skipIf(process.platform === 'win32')('a state folder that another user controls', () => {
  it.each([0o770, 0o775, 0o720, 0o777])('with mode %o is refused: the sentence names the mode and what to do', async mode => {
    const folder = await folderWithState()
    chmodSync(folder, mode)
    expectRefusals(await attempts(folder), new RegExp(`can be changed by other users \\(mode 0${mode.toString(8)}\\).*chmod go-w`))
  })

  it('that others can only read is used', async () => {
    const folder = await folderWithState()
    chmodSync(folder, 0o755)
    expect(generationOf(await openStore(folder).read('a'))).toBe(1)
  })

  it.runIf(USER === 0)('because he owns it is refused, by root too: the sentence names both users', async () => {
    const folder = await folderWithState()
    chownSync(folder, 1234, 1234)
    expectRefusals(await attempts(folder), /belongs to user 1234, this process runs as user root: run it as user 1234/)
  })

  it.runIf(USER === 0)('through a symbolic link of his is refused; through one of our own it is used', async () => {
    const folder = await folderWithState()
    const link = `${folder}-link`
    symlinkSync(folder, link)
    expect(generationOf(await openStore(link).read('a'))).toBe(1)
    spawnSync('chown', ['-h', '1234', link])
    expectRefusals(await attempts(link), /belongs to user 1234/)
  })
})

describe.skipIf(process.platform === 'win32')('a file in the state folder', () => {
  const affected = (file: string, errors: readonly unknown[]) => (file.startsWith('leases') ? errors.slice(4) : errors.slice(0, 4))

  it.each(FILES)('%s, that others can write to is refused and not changed', async file => {
    const folder = await folderWithState()
    const path = join(folder, file)
    if (!existsSync(path)) writeFileSync(path, '')
    chmodSync(path, 0o664)
    expectRefusals(affected(file, await attempts(folder)), /\(mode 0664\)/)
    expect((statSync(path).mode & 0o777).toString(8)).toBe('664')
  })

  it.each(FILES)(
    '%s, that is a symbolic link is refused: nothing is written through it, and what it leads to keeps its mode',
    async file => {
      const folder = await folderWithState()
      const path = join(folder, file)
      const target = join(folder, '..', 'target')
      if (existsSync(path)) renameSync(path, target)
      else writeFileSync(target, 'of another caller')
      chmodSync(target, 0o644)
      symlinkSync(target, path)
      const before = readFileSync(target)
      expectRefusals(affected(file, await attempts(folder)), /is a symbolic link, not a regular file/)
      expect(readFileSync(target).equals(before)).toBe(true)
      expect((statSync(target).mode & 0o777).toString(8)).toBe('644')
      expect(lstatSync(path).isSymbolicLink()).toBe(true)
    },
  )

  it.each([...FILES, 'profiles.json'])('%s, that is a FIFO is refused and not waited for', async file => {
    const folder = await folderWithState()
    const path = join(folder, file)
    if (existsSync(path)) renameSync(path, join(folder, '..', 'aside'))
    expect(spawnSync('mkfifo', ['-m', '600', path]).status).toBe(0)
    expectRefusals(affected(file, await attempts(folder)), /is a FIFO, not a regular file/)
  })

  it.runIf(USER === 0).each(FILES)('%s, of another user is refused', async file => {
    const folder = await folderWithState()
    const path = join(folder, file)
    if (!existsSync(path)) writeFileSync(path, '', { mode: 0o600 })
    chownSync(path, 1234, 1234)
    expectRefusals(affected(file, await attempts(folder)), /belongs to user 1234, this process runs as user root/)
  })
})

describe.skipIf(process.platform === 'win32')('a folder that every user can write to, as a volume of Kubernetes is', () => {
  function sharedVolume(): string {
    const folder = stateFolder()
    mkdirSync(folder)
    chmodSync(folder, 0o777)
    return folder
  }

  it('holds the state in a folder of its own with mode 0700, which the next process finds', async () => {
    const volume = sharedVolume()
    await openStore(volume).change('a', rotate('a'))
    expect(readdirSync(volume)).toEqual([`gatewatch-${USER}`])
    expect((statSync(join(volume, `gatewatch-${USER}`)).mode & 0o777).toString(8)).toBe('700')
    expect(generationOf(await openStore(volume).read('a'))).toBe(1)
    expect(stateFolderAt(stateFolderAt(volume))).toBe(join(volume, `gatewatch-${USER}`))
  })

  it.runIf(USER === 0)('does not, when another user has put a folder of that name there', async () => {
    const volume = sharedVolume()
    mkdirSync(join(volume, `gatewatch-${USER}`), { mode: 0o700 })
    chownSync(join(volume, `gatewatch-${USER}`), 1234, 1234)
    expectRefusals(await attempts(volume), /belongs to user 1234/)
  })
})

describe('a small file', () => {
  it('is read up to its bound, and not beyond', async () => {
    const path = join(await folderWithState(), 'settings.json')
    writeFileSync(path, 'x'.repeat(100), { mode: 0o600 })
    expect(await readOwnFile(path, 100)).toHaveLength(100)
    await expect(readOwnFile(path, 99)).rejects.toThrow(/has 100 bytes, more than the 99 that are read/)
    await expect(readNamedFile(path, 99)).rejects.toThrow(/more than the 99/)
  })

  it.skipIf(process.platform === 'win32')('that the operator names may be a link, as in a ConfigMap; one of ours may not', async () => {
    const folder = await folderWithState()
    writeFileSync(join(folder, 'data'), 'content', { mode: 0o600 })
    symlinkSync('data', join(folder, 'link'))
    expect(await readNamedFile(join(folder, 'link'), 100)).toBe('content')
    await expect(readOwnFile(join(folder, 'link'), 100)).rejects.toThrow(/is a symbolic link/)
  })
})
