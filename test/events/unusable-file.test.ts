import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { ATTR_CODE_STACK } from '../../otel/semconv.ts'
import { readRecords } from '../../src/events/disk-records.ts'
import { refreshes } from '../../src/events/queries.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { diskWorld } from './world.ts'

const FILE = 'recorder.sqlite'

/** A good file with some rows in it, closed. */
async function goodFile(): Promise<string> {
  const w = diskWorld()
  for (let index = 0; index < 200; index += 1) w.refresh({ caller: `src/a.ts#f${index}` })
  await w.recorder.shutdown()
  return w.recorder.path
}

const UNUSABLE: Readonly<Record<string, { code: string; make: (path: string) => void }>> = {
  'a text file': { code: 'GW_STORE_DAMAGED', make: path => writeFileSync(path, 'I am a text. '.repeat(1000)) },
  'cut in the middle': { code: 'GW_STORE_DAMAGED', make: path => truncateSync(path, 30_000) },
  'cut within its first page': { code: 'GW_STORE_DAMAGED', make: path => truncateSync(path, 1_000) },
  'cut to nothing': { code: 'GW_STORE_DAMAGED', make: path => truncateSync(path, 0) },
  'begun with zeros': {
    code: 'GW_STORE_DAMAGED',
    make: path => writeFileSync(path, Buffer.concat([Buffer.alloc(4096), readFileSync(path).subarray(4096)])),
  },
  'the database of another program': {
    code: 'GW_STORE_DAMAGED',
    make: path => {
      rmSync(path)
      const database = new DatabaseSync(path)
      database.exec('CREATE TABLE customers (name TEXT); INSERT INTO customers VALUES (1)')
      database.close()
    },
  },
  'written by a later Gatewatch': {
    code: 'GW_STORE_NEWER',
    make: path => {
      const database = new DatabaseSync(path)
      database.exec('PRAGMA user_version = 99')
      database.close()
    },
  },
}

describe('a recorder file that is', () => {
  it.each(Object.entries(UNUSABLE))(
    '%s stays unchanged, byte for byte; the host goes on and is reported once',
    async (_, { code, make }) => {
      const path = await goodFile()
      make(path)
      const before = readFileSync(path)
      const folder = dirname(path)
      const w = diskWorld({ folder })
      for (let index = 0; index < 3; index += 1) {
        w.refresh()
        await w.recorder.flush()
      }
      expect(w.failures).toEqual([expect.objectContaining({ code, message: expect.stringContaining(path) })])
      expect(w.recorder.failure).toMatchObject({ code })
      expect(w.recorder.dropped).toBe(3)
      expect(() => readRecords(folder, records => refreshes(records))).toThrow(expect.objectContaining({ code }))
      await w.recorder.shutdown()
      expect(readFileSync(path).equals(before)).toBe(true)
      expect(readdirSync(folder).filter(name => name.startsWith('recorder'))).toEqual([FILE])
    },
  )

  it('a folder is neither read nor written', async () => {
    const folder = stateFolder()
    mkdirSync(join(folder, FILE), { recursive: true })
    const w = diskWorld({ folder })
    w.refresh()
    await w.recorder.flush()
    const refused = expect.objectContaining({ code: 'GW_STORE_UNREADABLE', message: expect.stringContaining('is a folder') })
    expect(w.failures).toEqual([refused])
    expect(() => readRecords(folder, records => refreshes(records))).toThrow(refused)
  })

  it('absent is asked for in vain, and not made by asking', async () => {
    const folder = stateFolder()
    const ask = () => readRecords(folder, records => refreshes(records))
    expect(ask).toThrow(expect.objectContaining({ code: 'GW_CONFIG', message: expect.stringContaining(folder) }))
    mkdirSync(folder)
    expect(ask).toThrow(expect.objectContaining({ code: 'GW_CONFIG', message: expect.stringContaining(folder) }))
    expect(readdirSync(folder).filter(name => name.startsWith('recorder'))).toEqual([])
  })
})

describe('a state folder', () => {
  it('that is a file does not stop the host, and stays', async () => {
    const folder = stateFolder()
    writeFileSync(folder, 'I am a file')
    const w = diskWorld({ folder })
    w.refresh()
    await w.recorder.flush()
    expect(w.failures).toHaveLength(1)
    await w.recorder.shutdown()
    expect(w.recorder.dropped).toBe(1)
    expect(readFileSync(folder, 'utf8')).toBe('I am a file')
  })

  it('that cannot be used does not stop the host when its listeners throw', async () => {
    const folder = stateFolder()
    writeFileSync(folder, 'I am a file')
    const thrower = () => {
      throw new Error('of the listener')
    }
    const w = diskWorld({ folder, mostWaiting: 1, onFailure: thrower, onDropped: thrower })
    for (let index = 0; index < 3; index += 1) w.refresh()
    await w.recorder.flush()
    expect(w.recorder.failure).toBeDefined()
    expect(w.recorder.dropped).toBe(2)
  })

  it('on a full disk does not stop the host: what waits is written once there is room, the rest is counted', async context => {
    const folder = stateFolder()
    mkdirSync(folder)
    if (process.platform !== 'linux' || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', folder]).status !== 0)
      return context.skip('mounting a file system is not permitted here (needs root on Linux)')
    afterwards(() => spawnSync('umount', [folder]))
    const drops: number[] = []
    const w = diskWorld({ folder, mostWaiting: 50, onDropped: (_, count) => drops.push(count) })
    w.refresh({ caller: 'src/before.ts#f' })
    await w.recorder.flush()
    fill(join(folder, 'ballast'))
    const stack = 'x'.repeat(4_000)
    for (let index = 0; index < 80; index += 1) w.refresh({ caller: `src/a.ts#f${index}`, attributes: { [ATTR_CODE_STACK]: stack } })
    await w.recorder.flush()
    expect(w.failures).toEqual([expect.objectContaining({ code: 'GW_STORE_UNWRITABLE', next: 'free_disk_space' })])
    expect(drops.reduce((sum, count) => sum + count, 0)).toBe(30)
    expect(w.recorder.dropped).toBe(30)
    expect(readRecords(folder, records => refreshes(records)).map(({ caller }) => caller)).toContain('src/before.ts#f')
    rmSync(join(folder, 'ballast'))
    await w.recorder.flush()
    expect(w.recorder.failure).toBeUndefined()
    expect(readRecords(folder, records => refreshes(records))).toHaveLength(51)
    expect(readRecords(folder, records => records.processes())[0]?.dropped).toBe(30)
    await w.recorder.shutdown()
  })
})

describe('somebody who reads on and on', () => {
  it('does not keep others from writing', async () => {
    const w = diskWorld()
    w.refresh()
    await w.recorder.flush()
    const reader = new DatabaseSync(w.recorder.path, { readOnly: true })
    afterwards(() => reader.close())
    reader.exec('BEGIN')
    expect(reader.prepare('SELECT count(*) AS count FROM interesting').get()).toMatchObject({ count: 1 })
    for (let index = 0; index < 500; index += 1) w.refresh()
    await w.recorder.flush()
    expect(w.failures).toEqual([])
    expect(reader.prepare('SELECT count(*) AS count FROM interesting').get()).toMatchObject({ count: 1 })
    expect(readRecords(w.folder, records => refreshes(records, { most: 1000 }))).toHaveLength(501)
  })

  it('cannot make the journal grow without bounds', async () => {
    const w = diskWorld({ mostBytes: 2_000_000 })
    w.refresh()
    await w.recorder.flush()
    const reader = new DatabaseSync(w.recorder.path, { readOnly: true })
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM interesting').get()
    for (let index = 0; index < 1500; index += 1) w.refresh({ attributes: { [ATTR_CODE_STACK]: 'x'.repeat(20_000) } })
    await w.recorder.flush()
    expect(w.failures).toEqual([expect.objectContaining({ code: 'GW_STORE_UNWRITABLE', next: 'try_again_later' })])
    reader.exec('ROLLBACK')
    reader.close()
    await w.recorder.flush()
    expect(w.recorder.failure).toBeUndefined()
  })

  it('finds the file as a writer left it: reading neither makes nor leaves anything beside it', async () => {
    const path = await goodFile()
    const before = readFileSync(path)
    expect(readRecords(dirname(path), records => refreshes(records, { most: 1000 }))).toHaveLength(200)
    expect(readdirSync(dirname(path)).filter(name => name.startsWith('recorder'))).toEqual([FILE])
    expect(readFileSync(path).equals(before)).toBe(true)
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
