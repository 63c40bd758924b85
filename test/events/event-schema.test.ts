import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { eventFile, eventVersionOf, ownEventFile, readEventsUnmodified } from '../../src/events/event-file.ts'
import { eventRetentionOf } from '../../src/events/event-retention.ts'
import { EVENT_SCHEMA, type EventSchema } from '../../src/events/event-schema.ts'
import { EventWriter, writtenBatch } from '../../src/events/event-writer.ts'
import { refreshList } from '../../src/events/queries/refresh-list.ts'
import { readEvents } from '../../src/events/read-events.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { refreshEvent, storeWorld } from './world-events.ts'

/** The format of a later Gatewatch: one more column. */
const LATER: EventSchema = {
  version: 2,
  create: `${EVENT_SCHEMA.create} ALTER TABLE process ADD COLUMN region TEXT; PRAGMA user_version = 2;`,
  migrations: ['ALTER TABLE process ADD COLUMN region TEXT'],
  readOlder: ['CREATE TEMP VIEW process AS SELECT *, NULL AS region FROM main.process'],
}

function laterWriter(folder: string) {
  const self = () => ({ pid: 1, role: 'gateway', startedMs: 1, title: 'later', host: 'h' }) as const
  const writer = new EventWriter({ folder, self, bounds: eventRetentionOf({}), schema: LATER })
  afterwards(() => writer.close())
  const write = (caller: string) =>
    expect(writer.tryWrite(writtenBatch([refreshEvent({ caller })], { dropped: 0, exports: false }))).toBe(true)
  return { writer, write }
}

function callersIn(folder: string): string[] {
  return readEvents(folder, database => refreshList(database).refreshes.map(({ caller }) => caller))
}

describe('an event store of an older format', () => {
  it('is read by a later Gatewatch without a change, while its writer goes on', async () => {
    const w = storeWorld()
    w.refresh({ caller: 'src/old.ts#f' })
    await w.store.flush()
    const regions = () =>
      readEventsUnmodified(eventFile(w.folder), database => database.prepare('SELECT title, region FROM process').all(), { schema: LATER })
    expect(regions()).toMatchObject([{ region: null }])
    w.refresh({ caller: 'src/old.ts#g' })
    await w.store.flush()
    expect(callersIn(w.folder)).toHaveLength(2)
    expect(w.failures).toEqual([])
  })

  it('is migrated by the first later Gatewatch that writes; nothing in it is lost', async () => {
    const w = storeWorld()
    w.refresh({ caller: 'src/old.ts#f' })
    await w.store.shutdown()
    laterWriter(w.folder).write('src/new.ts#f')
    laterWriter(w.folder).write('src/new.ts#g')
    const database = new DatabaseSync(eventFile(w.folder), { readOnly: true })
    afterwards(() => database.close())
    expect(eventVersionOf(database)).toBe(2)
    expect(
      database
        .prepare('SELECT caller FROM event ORDER BY id')
        .all()
        .map(({ caller }) => caller),
    ).toEqual(['src/old.ts#f', 'src/new.ts#f', 'src/new.ts#g'])
  })

  it('that another process is writing is migrated when that one is done', async () => {
    const w = storeWorld()
    w.refresh()
    await w.store.shutdown()
    const locker = new DatabaseSync(eventFile(w.folder))
    afterwards(() => locker.close())
    locker.exec('BEGIN IMMEDIATE')
    const { writer, write } = laterWriter(w.folder)
    expect(writer.tryWrite(writtenBatch([refreshEvent()], { dropped: 0, exports: false }))).toBe(false)
    locker.exec('ROLLBACK')
    write('src/new.ts#f')
  })
})

describe('an event store of a newer format', () => {
  it('is left to its writers by an older process, which writes to a file of its own, reports it once, and reads that', async () => {
    const folder = stateFolder()
    laterWriter(folder).write('src/new.ts#f')
    const w = storeWorld({ folder })
    for (const caller of ['src/old.ts#f', 'src/old.ts#g']) {
      w.refresh({ caller })
      await w.store.flush()
    }
    expect(w.failures).toEqual([
      expect.objectContaining({ code: 'GW_STORE_NEWER', message: expect.stringContaining(ownEventFile(folder, 1)) }),
    ])
    expect(w.store).toMatchObject({ dropped: 0, failure: undefined })
    expect(callersIn(folder).sort()).toEqual(['src/old.ts#f', 'src/old.ts#g'])
    await w.store.shutdown()
  })

  it('that came to be while an older process had it open is noticed with the next write', async () => {
    const w = storeWorld()
    w.refresh({ caller: 'src/old.ts#f' })
    await w.store.flush()
    laterWriter(w.folder).write('src/new.ts#f')
    w.refresh({ caller: 'src/old.ts#g' })
    await w.store.flush()
    expect(w.failures).toEqual([expect.objectContaining({ code: 'GW_STORE_NEWER' })])
    expect(callersIn(w.folder)).toEqual(['src/old.ts#g'])
  })

  it('cannot be read by an older Gatewatch that wrote nothing, which says so', () => {
    const folder = stateFolder()
    laterWriter(folder).write('src/new.ts#f')
    expect(() => callersIn(folder)).toThrow(expect.objectContaining({ code: 'GW_STORE_NEWER', next: 'upgrade_gatewatch' }))
  })
})
