import { once } from 'node:events'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { OTHER } from '../../otel/semconv.ts'
import type { GatewatchEvent } from '../../src/domain/events.ts'
import { EventReader } from '../../src/events/event-reader.ts'
import { recordingProcesses } from '../../src/events/queries/processes.ts'
import { refreshList } from '../../src/events/queries/refresh-list.ts'
import { tokenReplays } from '../../src/events/queries/token-replays.ts'
import { readEvents } from '../../src/events/read-events.ts'
import type { ChildProcess } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { collected } from '../support/collected.ts'
import { acquireEvent, attemptEvent, callEvent, memoryWorld, refreshEvent, startWriter, storeWorld } from './world-events.ts'

const ALL = { most: 100_000 }
/** Locks the database for longer than the store waits for its thread. */
const LOCK_FOR_A_MOMENT = `
const { DatabaseSync } = require('node:sqlite')
const { parentPort, workerData } = require('node:worker_threads')
const database = new DatabaseSync(workerData, { timeout: 10_000 })
database.exec('BEGIN IMMEDIATE')
parentPort.postMessage('locked')
setTimeout(() => database.close(), 300)
`

async function allReady(children: readonly ChildProcess[]): Promise<void> {
  for (const child of children) expect(await child.line()).toBe('ready')
  for (const child of children) child.goOn()
}

describe('several processes that record at once', () => {
  it('may be four: nothing is lost, and all can be read meanwhile', async () => {
    const folder = stateFolder()
    const children = Array.from({ length: 4 }, () => startWriter('event-write-many.ts', folder, '2000'))
    await allReady(children)
    const ended = Promise.all(children.map(child => child.line())).then(lines => expect(lines).toEqual(Array(4).fill('done')))
    const seen: number[] = []
    for (let writing = true; writing; ) {
      writing = await Promise.race([ended.then(() => false), new Promise<true>(resolve => setTimeout(resolve, 5, true))])
      if (readdirSync(join(folder, '..')).length > 0) seen.push(countIn(folder))
    }
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
    for (const child of children) expect(await child.exit).toMatchObject({ code: 0, stderr: '' })
    const rows = listed(folder)
    expect(rows).toHaveLength(8000)
    expect(new Set(rows.map(({ caller }) => caller)).size).toBe(8000)
    for (const { pid } of children) expect(rows.filter(row => row.pid === pid)).toHaveLength(2000)
    for (const row of rows) expect(row.caller).toMatch(`src/${row.pid}.ts#`)
    expect(new Set(rows.map(({ role, title }) => `${role} ${title}`))).toEqual(new Set(['child event-write-many.ts']))
  })

  it('may be the threads of one', async () => {
    const folder = stateFolder()
    const child = startWriter('event-write-in-workers.ts', folder, '400')
    expect(await child.exit).toMatchObject({ code: 0, stderr: '' })
    expect(listed(folder)).toHaveLength(1200)
    expect(readEvents(folder, tokenReplays)).toMatchObject([{ acrossProcesses: false }])
    expect(checkOf(join(folder, 'events.sqlite'))).toBe('ok')
  })

  it('leave one file that only its owner can read, in a folder that only he can enter', async () => {
    const folder = stateFolder()
    const children = Array.from({ length: 2 }, () => startWriter('event-write-many.ts', folder, '300', 'killed'))
    await allReady(children)
    for (const child of children) expect(await child.line()).toBe('flushed')
    expect(modeOf(folder)).toBe('700')
    expect(readdirSync(folder).sort()).toEqual(['events.sqlite', 'events.sqlite-shm', 'events.sqlite-wal'])
    for (const name of readdirSync(folder)) expect(modeOf(join(folder, name))).toBe('600')
  })
})

describe('a process that ends', () => {
  it.each([
    ['by having nothing left to do', 'nothing', 0],
    ['by process.exit', 'exit', 0],
    ['by an exception', 'throw', 1],
  ])('%s has recorded all that had ended, and leaves no journal behind', async (_, last, code) => {
    const folder = stateFolder()
    const child = startWriter('event-write-many.ts', folder, '1500', last)
    await allReady([child])
    expect(await child.exit).toMatchObject({ code })
    expect(listed(folder)).toHaveLength(1500)
    expect(readdirSync(folder)).toEqual(['events.sqlite'])
  })

  it('by SIGKILL leaves a sound file with every batch before the last', async () => {
    const folder = stateFolder()
    const child = startWriter('event-write-many.ts', folder, '500', 'killed')
    await allReady([child])
    expect(await child.line()).toBe('flushed')
    child.signal('SIGKILL')
    expect(await child.exit).toMatchObject({ code: 'SIGKILL' })
    const rows = listed(folder)
    expect(rows.filter(({ caller }) => caller !== 'src/late.ts#f')).toHaveLength(500)
    const w = storeWorld({ folder })
    w.refresh({ caller: 'src/next.ts#f' })
    await w.store.flush()
    expect(w.failures).toEqual([])
    expect(listed(folder)[0]?.caller).toBe('src/next.ts#f')
    expect(checkOf(join(folder, 'events.sqlite'))).toBe('ok')
  })

  it('is not held by the recorder, whose file another caller keeps locked', async () => {
    const w = storeWorld()
    w.refresh()
    await w.store.flush()
    const locker = new DatabaseSync(w.store.path, { timeout: 10_000 })
    locker.exec('BEGIN IMMEDIATE')
    const child = startWriter('event-write-many.ts', w.folder, '10', 'nothing')
    await allReady([child])
    expect(await child.exit).toMatchObject({ code: 0, stderr: 'dropped 10\n' })
    locker.exec('ROLLBACK')
    locker.close()
    expect(countIn(w.folder)).toBe(1)
  })
})

// Seen: on a machine with other work a process that ended in order lost its last events. Why: `shutdown` waited so long for the
// thread, and dropped what that had not written. The fix: it writes the rest itself, as a process does that exits.
describe('a store that is shut down', () => {
  it('writes by itself what its thread was kept from', async () => {
    const w = storeWorld({ flushMs: 20 })
    w.refresh()
    await expect.poll(() => w.store.waiting).toBe(0)
    const locker = new Worker(LOCK_FOR_A_MOMENT, { eval: true, workerData: w.store.path })
    await once(locker, 'message')
    w.refresh()
    await w.store.shutdown()
    expect({ dropped: w.store.dropped, recorded: countIn(w.folder) }).toEqual({ dropped: 0, recorded: 2 })
    await locker.terminate()
  })
})

describe('what is recorded on disk', () => {
  it('is every field of an event, its stacks once, with the process that recorded it', async () => {
    const w = storeWorld({ title: 'my-gateway' })
    const caller = {
      label: 'src/a.ts#f',
      kind: 'code',
      stackId: '0123456789ab',
      file: 'src/a.ts',
      line: 12,
      stack: 'f (src/a.ts:12:3)',
    } as const
    const events: GatewatchEvent[] = [
      refreshEvent({
        caller,
        parentSpanId: 'b'.repeat(16),
        links: [{ traceId: 'c'.repeat(32), spanId: 'd'.repeat(16) }],
        refreshFingerprintBefore: 'aaaaaaaaaaaa',
        refreshFingerprintAfter: 'bbbbbbbbbbbb',
        httpStatus: 200,
        steps: [{ name: 'joined', atMs: 12.5, caller }],
      }),
      refreshEvent({ caller, isError: true, outcome: 'invalidated', errorType: 'invalid_grant', replay: true }),
      acquireEvent({ caller, decision: 'reuse', standsFor: 7 }),
      attemptEvent({ startMs: Date.now() + 0.123456, durationMs: 1.2345, billing: 'metered', inputTokens: 3 }),
      callEvent({ steps: [{ name: 'fallback', atMs: 3, fallbackFrom: 'a', fallbackTo: 'b', fallbackReason: 'rate_limited' }] }),
    ]
    for (const event of events) w.store.take(event)
    await w.store.flush()
    readEvents(w.folder, database => {
      const bySpan = new Map([...new EventReader(database).events()].map(event => [event.spanId, event]))
      const process = expect.objectContaining({ pid: globalThis.process.pid, role: 'gateway', title: 'my-gateway' })
      for (const event of events) expect(bySpan.get(event.spanId)).toEqual({ ...event, process })
      expect(bySpan.size).toBe(5)
      expect(database.prepare('SELECT count(*) AS count FROM stack').get()).toEqual({ count: 1 })
    })
  })

  it('holds nothing of the process but its pid, role, start, host digest and script', async () => {
    const w = storeWorld()
    w.refresh()
    await w.store.flush()
    expect(readEvents(w.folder, recordingProcesses)).toEqual([
      {
        pid: process.pid,
        role: 'gateway',
        startedMs: expect.any(Number),
        title: basename(process.argv[1] ?? ''),
        host: expect.stringMatching(/^[0-9a-f]{12}$/),
        dropped: 0,
        exports: false,
      },
    ])
  })

  it('says of a process whether it exports to OpenTelemetry itself', async () => {
    const w = storeWorld({ exports: () => true })
    w.refresh()
    await w.store.flush()
    expect(readEvents(w.folder, recordingProcesses)[0]?.exports).toBe(true)
  })

  it('goes on in a new file when another process removes the folder', async () => {
    const w = storeWorld()
    w.refresh()
    await w.store.flush()
    rmSync(w.folder, { recursive: true })
    w.refresh({ caller: 'src/later.ts#f' })
    await w.store.flush()
    expect(listed(w.folder).map(({ caller }) => caller)).toEqual(['src/later.ts#f'])
    expect(w.failures).toEqual([])
  })
})

describe('the bounds of the file', () => {
  it('are kept by number, the kept apart from the bulk', async () => {
    const w = storeWorld({ mostKept: 150, mostBulk: 20 })
    for (let index = 0; index < 400; index += 1) {
      w.refresh({ caller: `src/a.ts#f${index}` })
      w.store.take(attemptEvent())
    }
    await w.store.flush()
    expect(tableSizes(w.store.path)).toEqual({ kept: 150, bulk: 20 })
    const callers = listed(w.folder).map(({ caller }) => caller)
    expect(new Set(callers)).toEqual(new Set(Array.from({ length: 150 }, (_, index) => `src/a.ts#f${index + 250}`)))
  })

  it('are kept by age: the process that writes clears the old away', async () => {
    const w = storeWorld({ mostAgeMs: 3_600_000 })
    const nowMs = Date.now()
    for (let index = 0; index < 1200; index += 1) w.refresh({ startMs: nowMs - 3_590_000, caller: 'src/old.ts#f' })
    w.refresh({ startMs: nowMs, caller: 'src/a.ts#f' })
    await w.store.flush()
    expect(countIn(w.folder)).toBe(1201)
    const later = storeWorld({ folder: w.folder, mostAgeMs: 60_000 })
    for (const caller of ['src/b.ts#f', 'src/c.ts#f', 'src/d.ts#f']) {
      later.refresh({ startMs: nowMs, caller })
      await later.store.flush()
    }
    const rows = listed(w.folder)
    expect(rows.map(({ caller }) => caller).sort()).toEqual(['src/a.ts#f', 'src/b.ts#f', 'src/c.ts#f', 'src/d.ts#f'])
  })

  it('are kept by size: the bulk goes first', async () => {
    const mostBytes = 1_000_000
    const w = storeWorld({ mostBytes })
    const stack = 'x'.repeat(4_000)
    w.refresh({ caller: 'src/precious.ts#f' })
    for (let index = 0; index < 1500; index += 1) {
      w.store.take(attemptEvent({ caller: stackCaller(stack) }))
      if (index % 500 === 0) await w.store.flush()
    }
    await w.store.flush()
    expect(listed(w.folder).map(({ caller }) => caller)).toEqual(['src/precious.ts#f'])
    for (let index = 0; index < 1500; index += 1) {
      w.refresh({ caller: { ...stackCaller(stack), label: `src/a.ts#f${index}` } })
      if (index % 500 === 0) await w.store.flush()
    }
    await w.store.flush()
    expect(listed(w.folder)[0]?.caller).toBe('src/a.ts#f1499')
    await w.store.shutdown()
    // One batch may stand above the bound until the next one clears it away.
    expect(statSync(w.store.path).size).toBeLessThan(mostBytes + 250 * 6_000)
  })

  it.each(['mostKept', 'mostBulk', 'mostAgeMs', 'mostBytes'] as const)('must be positive whole numbers: %s', bound => {
    expect(() => storeWorld({ [bound]: 0 })).toThrow(RangeError)
  })
})

describe('the queue in front of the file', () => {
  it('is bounded; what does not fit is counted, and the second half is for what is kept', async () => {
    const drops: unknown[] = []
    const w = storeWorld({ mostWaiting: 10, onDropped: (place, count) => drops.push([place, count]) })
    for (let index = 0; index < 8; index += 1) w.store.take(attemptEvent())
    for (let index = 0; index < 8; index += 1) w.refresh()
    expect(w.store.dropped).toBe(6)
    expect(drops).toEqual(Array(6).fill(['event_store', 1]))
    await w.store.flush()
    expect(tableSizes(w.store.path)).toEqual({ kept: 5, bulk: 5 })
    expect(readEvents(w.folder, recordingProcesses)[0]?.dropped).toBe(6)
  })

  it('drops an event that cannot be written, not the others', async () => {
    const w = storeWorld()
    w.refresh({ caller: 'src/a.ts#f' })
    const odd: { self?: unknown } = {}
    odd.self = odd
    w.store.take(refreshEvent({ errorType: odd as never }))
    w.refresh({ caller: 'src/b.ts#g' })
    await w.store.flush()
    expect(w.store.dropped).toBe(1)
    expect(w.failures).toEqual([])
    expect(countIn(w.folder)).toBe(2)
  })

  it('takes nothing after shutdown, and says so', async () => {
    const w = storeWorld()
    w.refresh()
    await w.store.shutdown()
    w.refresh()
    expect(w.store.dropped).toBe(1)
    expect(countIn(w.folder)).toBe(1)
    expect(readdirSync(w.folder)).toEqual(['events.sqlite'])
  })
})

describe('counts', () => {
  const labels = { caller: 'src/a.ts#f', reason: 'expired' }

  it('outlive the events that they counted', async () => {
    const w = storeWorld({ mostKept: 2 })
    for (let index = 0; index < 30; index += 1) w.refresh({ reason: index % 3 === 0 ? 'forced' : 'expired' })
    w.refresh({ via: 'bypass', caller: 'src/b.ts#probe' })
    for (const decision of ['lead', 'reuse', 'reuse'] as const)
      w.store.take(acquireEvent({ decision, ...(decision === 'reuse' && { standsFor: 2 }) }))
    const { refreshes, acquisitions } = await w.store.query('eventCounts', undefined)
    const seen = { lastSeenMs: expect.any(Number) }
    expect(refreshes).toEqual([
      { ...labels, via: 'gate', outcome: 'rotated', count: 20, ...seen },
      { ...labels, reason: 'forced', via: 'gate', outcome: 'rotated', count: 10, ...seen },
      { ...labels, caller: 'src/b.ts#probe', via: 'bypass', outcome: 'rotated', count: 1, ...seen },
    ])
    expect(acquisitions).toEqual([
      { ...labels, decision: 'reuse', count: 4, ...seen },
      { ...labels, decision: 'lead', count: 1, ...seen },
    ])
    expect((await w.store.query('refreshList', {})).refreshes).toHaveLength(1)
  })

  it('include acquisitions that are not recorded', async () => {
    const w = storeWorld()
    for (let index = 0; index < 250; index += 1) w.store.count(acquireEvent({ decision: 'reuse' }))
    w.store.count(acquireEvent({ decision: 'join' }))
    const { acquisitions } = await w.store.query('eventCounts', undefined)
    expect(acquisitions.map(({ decision, count }) => [decision, count])).toEqual([
      ['reuse', 250],
      ['join', 1],
    ])
    expect(listed(w.folder)).toEqual([])
  })

  it('of a store whose table is full count more callers as _other', async () => {
    const w = memoryWorld({ thread: 'never', mostWaiting: 20_000 })
    for (let index = 0; index < 5_490; index += 1) w.refresh({ caller: `c${index}` })
    const { refreshes } = await w.store.query('eventCounts', undefined)
    expect(refreshes).toHaveLength(5_001)
    expect(refreshes[0]).toMatchObject({ caller: OTHER, count: 490 })
  })

  it('hold every step from profile to profile, and a change of who pays', async () => {
    const w = storeWorld()
    const step = (fallbackFrom: string, fallbackTo: string) =>
      ({ name: 'fallback', atMs: Date.now(), fallbackFrom, fallbackTo, fallbackReason: 'rate_limited' }) as const
    w.store.take(callEvent({ profile: 'c', billingChanged: true, steps: [step('a', 'b'), step('b', 'c')] }))
    w.store.take(callEvent({ profile: 'b', steps: [step('a', 'b')] }))
    const { fallbacks, billingChanges } = await w.store.query('eventCounts', undefined)
    expect(fallbacks.map(({ from, to, reason, count }) => [from, to, reason, count])).toEqual([
      ['a', 'b', 'rate_limited', 2],
      ['b', 'c', 'rate_limited', 1],
    ])
    expect(billingChanges.map(({ from, to, count }) => [from, to, count])).toEqual([['a', 'c', 1]])
  })
})

describe('a store in memory', () => {
  it('answers what it took, and leaves no file', async () => {
    const w = memoryWorld({ thread: 'required', mostAgeMs: Number.MAX_SAFE_INTEGER })
    expect(w.store.path).toBe(':memory:')
    expect((await w.store.query('refreshList', {})).refreshes).toEqual([])
    for (let index = 0; index < 450; index += 1) w.refresh({ startMs: 1_000 + index, caller: `src/a.ts#f${index}` })
    expect((await w.store.query('refreshList', { most: 1 })).refreshes).toMatchObject([{ caller: 'src/a.ts#f449' }])
    const events = await collected(w.store.events({ sinceMs: 1_105, most: { kept: 300, bulk: 1 } }))
    expect(events.map(({ startMs }) => startMs)).toEqual(Array.from({ length: 300 }, (_, index) => 1_449 - index))
    expect(w.failures).toEqual([])
  })

  it('is kept by the main thread where no thread is wanted', async () => {
    const w = memoryWorld({ thread: 'never' })
    w.refresh()
    w.store.take(attemptEvent())
    expect(await collected(w.store.events({ kinds: ['attempt'] }))).toMatchObject([{ kind: 'attempt' }])
  })
})

describe.each([
  ['a file, by a thread', storeWorld, 'required'],
  ['a file, by the main thread', storeWorld, 'never'],
  ['memory, by a thread', memoryWorld, 'required'],
  ['memory, by the main thread', memoryWorld, 'never'],
] as const)('an answer from %s', (_what, world, thread) => {
  it('as JSON says what the value says', async () => {
    const w = world({ thread })
    w.refresh({ caller: 'src/ä.ts#f' })
    const value = await w.store.query('refreshList', {})
    expect(value.refreshes).toHaveLength(1)
    const json = await w.store.queryJson('refreshList', {})
    expect(JSON.parse(new TextDecoder().decode(json))).toEqual(JSON.parse(JSON.stringify(value)))
  })
})

describe('loaded in a preload', () => {
  it('brings nothing of the OpenTelemetry SDK, no SQLite into the thread that loads it, and no word on stderr', async () => {
    const child = startWriter('event-loaded-files.ts', stateFolder())
    const { code, stdout, stderr } = await child.exit
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { urls, ...rest } = JSON.parse(stdout) as { urls: string[] }
    expect(rest).toEqual({ before: false, afterConstruction: false, afterWrite: false, dropped: 0 })
    expect(urls.some(url => url.includes('/src/events/event-store.ts'))).toBe(true)
    expect(urls.filter(url => /@opentelemetry\/(?!api\/)|undici|express/.test(url))).toEqual([])
  })
})

/** A caller whose stack has no id, and is stored with its event. */
function stackCaller(stack: string) {
  return { label: 'src/a.ts#f', kind: 'code', stack } as const
}

function listed(folder: string) {
  return readEvents(folder, database => refreshList(database, ALL)).refreshes
}

/** Refreshes in a folder in which a process may just begin. */
function countIn(folder: string): number {
  try {
    return listed(folder).length
  } catch (error) {
    expect(error).toMatchObject({ code: 'GW_CONFIG' })
    return 0
  }
}

function tableSizes(path: string): Record<string, unknown> {
  const database = new DatabaseSync(path, { readOnly: true })
  const rows = database.prepare('SELECT keep, count(*) AS events FROM event GROUP BY keep').all()
  expect(
    database
      .prepare('SELECT * FROM keep_class')
      .all()
      .map(row => ({ ...row }))
      .filter(({ events }) => events !== 0),
  ).toEqual(rows.map(row => ({ ...row })))
  const row = Object.fromEntries(rows.map(({ keep, events }) => [keep, events]))
  database.close()
  return { ...row }
}

function checkOf(path: string): unknown {
  const database = new DatabaseSync(path)
  const { integrity_check: check } = database.prepare('PRAGMA integrity_check').get() ?? {}
  database.close()
  return check
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}
