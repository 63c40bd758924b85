import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { SpanStatusCode } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import {
  ATTR_CODE_STACK,
  ATTR_DECISION,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_TO,
  ATTR_VIA,
  ATTRIBUTES,
  EVENT_BYPASS,
  EVENT_FALLBACK,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { readRecords } from '../../src/events/disk-records.ts'
import { acquisitionTable, bypasses, callerTable, fallbackTable, refreshes, trace } from '../../src/events/queries.ts'
import { Recorder } from '../../src/events/recorder.ts'
import { replays } from '../../src/events/replays.ts'
import { RedactingSpanProcessor } from '../../src/telemetry/redaction-processor.ts'
import type { ChildProcess } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { CANARIES } from '../telemetry/canaries.ts'
import { diskWorld, startChild } from './world.ts'
import { spansInto } from './world-spans.ts'

const ALL = { most: 100_000 }
const BASE_MS = Date.parse('2026-05-14T10:00:00Z')

async function allReady(children: readonly ChildProcess[]): Promise<void> {
  for (const child of children) expect(await child.line()).toBe('ready')
  for (const child of children) child.goOn()
}

describe('several processes that record at once', () => {
  it('may be four: nothing is lost, and all can be read meanwhile', async () => {
    const folder = stateFolder()
    const children = Array.from({ length: 4 }, () => startChild('write-many.ts', folder, '2000'))
    await allReady(children)
    const ended = Promise.all(children.map(child => child.line())).then(lines => expect(lines).toEqual(Array(4).fill('done')))
    const seen: number[] = []
    for (let writing = true; writing; ) {
      writing = await Promise.race([ended.then(() => false), new Promise<true>(resolve => setTimeout(resolve, 5, true))])
      if (readdirSync(join(folder, '..')).length > 0) seen.push(countIn(folder))
    }
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
    for (const child of children) expect(await child.exit).toMatchObject({ code: 0, stderr: '' })
    const rows = readRecords(folder, records => refreshes(records, ALL))
    expect(rows).toHaveLength(8000)
    expect(new Set(rows.map(({ caller }) => caller)).size).toBe(8000)
    for (const { pid } of children) expect(rows.filter(row => row.pid === pid)).toHaveLength(2000)
    for (const row of rows) expect(row.caller).toMatch(`src/${row.pid}.ts#`)
    expect(new Set(rows.map(({ role, title }) => `${role} ${title}`))).toEqual(new Set(['child write-many.ts']))
  })

  it('may be the threads of one', async () => {
    const folder = stateFolder()
    const child = startChild('write-in-workers.ts', folder, '400')
    expect(await child.exit).toMatchObject({ code: 0, stderr: '' })
    expect(readRecords(folder, records => refreshes(records, ALL))).toHaveLength(1200)
    expect(readRecords(folder, records => replays(records))).toMatchObject([{ acrossProcesses: false }])
    expect(checkOf(join(folder, 'recorder.sqlite'))).toBe('ok')
  })

  it('leave one file that only its owner can read, in a folder that only he can enter', async () => {
    const folder = stateFolder()
    const children = Array.from({ length: 2 }, () => startChild('write-many.ts', folder, '300', 'killed'))
    await allReady(children)
    for (const child of children) expect(await child.line()).toBe('flushed')
    expect(modeOf(folder)).toBe('700')
    expect(readdirSync(folder).filter(name => name.startsWith('recorder'))).toEqual([
      'recorder.sqlite',
      'recorder.sqlite-shm',
      'recorder.sqlite-wal',
    ])
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
    const child = startChild('write-many.ts', folder, '1500', last)
    await allReady([child])
    expect(await child.exit).toMatchObject({ code })
    expect(readRecords(folder, records => refreshes(records, ALL))).toHaveLength(1500)
    expect(readdirSync(folder).filter(name => name.startsWith('recorder'))).toEqual(['recorder.sqlite'])
  })

  it('by SIGKILL leaves a sound file with every batch before the last', async () => {
    const folder = stateFolder()
    const child = startChild('write-many.ts', folder, '500', 'killed')
    await allReady([child])
    expect(await child.line()).toBe('flushed')
    child.signal('SIGKILL')
    expect(await child.exit).toMatchObject({ code: 'SIGKILL' })
    const rows = readRecords(folder, records => refreshes(records, ALL))
    expect(rows.filter(({ caller }) => caller !== 'src/late.ts#f')).toHaveLength(500)
    const w = diskWorld({ folder })
    w.refresh({ caller: 'src/next.ts#f' })
    await w.recorder.flush()
    expect(w.failures).toEqual([])
    expect(readRecords(folder, records => refreshes(records))[0]?.caller).toBe('src/next.ts#f')
    expect(checkOf(join(folder, 'recorder.sqlite'))).toBe('ok')
  })

  it('is not held by the recorder, whose file another caller keeps locked', async () => {
    const w = diskWorld()
    w.refresh()
    await w.recorder.flush()
    const locker = new DatabaseSync(w.recorder.path)
    locker.exec('BEGIN IMMEDIATE')
    const child = startChild('write-many.ts', w.folder, '10', 'nothing')
    await allReady([child])
    expect(await child.exit).toMatchObject({ code: 0, stderr: 'dropped 10\n' })
    locker.exec('ROLLBACK')
    locker.close()
    expect(countIn(w.folder)).toBe(1)
  })
})

describe('what is recorded on disk', () => {
  it('answers like the recorder in memory, and names the process besides', async () => {
    const w = diskWorld({ title: 'my-gateway', mostAgeMs: Number.MAX_SAFE_INTEGER })
    const memory = new Recorder()
    for (const { refresh, tracer } of [w, spansInto(memory)]) {
      refresh({ startMs: BASE_MS + 1_000, outcome: 'invalidated', attributes: { [ATTR_CODE_STACK]: 'at f (src/a.ts:1:2)' } })
      refresh({ startMs: BASE_MS + 2_000, caller: 'src/b.ts#g', attributes: { [ATTR_VIA]: 'bypass' } })
      refresh({ startMs: BASE_MS + 3_000 })
      const acquisition = tracer.startSpan(SPAN_ACQUIRE, { startTime: BASE_MS + 10, attributes: { [ATTR_DECISION]: 'reuse' } })
      acquisition.end(BASE_MS + 12)
      const call = tracer.startSpan(SPAN_CALL, { startTime: BASE_MS + 20 })
      call.addEvent(EVENT_FALLBACK, { [ATTR_FALLBACK_FROM]: 'a', [ATTR_FALLBACK_TO]: 'b' }, BASE_MS + 21)
      call.end(BASE_MS + 22)
    }
    await w.recorder.flush()
    const filters = [
      {},
      { via: 'bypass' },
      { via: ['gate', 'bypass'] },
      { sinceMs: BASE_MS + 2_000 },
      { callerPart: 'b.ts' },
      { outcome: 'invalidated' },
      { most: 1 },
      { caller: 'none' },
    ]
    readRecords(w.folder, records => {
      for (const filter of filters) expect(plain(refreshes(records, filter))).toEqual(plain(refreshes(memory, filter)))
      expect(refreshes(records).map(({ pid, role, title }) => ({ pid, role, title }))).toEqual(
        Array(3).fill({ pid: process.pid, role: 'gateway', title: 'my-gateway' }),
      )
      expect(plain(bypasses(records))).toEqual(plain(bypasses(memory)))
      expect(callerTable(records)).toEqual(callerTable(memory))
      expect(acquisitionTable(records)).toEqual(acquisitionTable(memory))
      expect(fallbackTable(records)).toEqual(fallbackTable(memory))
    })
  })

  it('gives a trace back span by span, interesting or not', async () => {
    const w = diskWorld()
    const memory = new Recorder()
    const parent = w.tracer.startSpan('chat gpt-5.5', { startTime: 100 })
    parent.end(200)
    const { traceId } = parent.spanContext()
    memory.onEnd(parent as never)
    await w.recorder.flush()
    const spans = readRecords(w.folder, records => trace(records, traceId))
    expect(spans).toEqual(trace(memory, traceId).map(span => ({ ...span, process: expect.objectContaining({ pid: process.pid }) })))
    expect(spans).toHaveLength(1)
  })

  it('holds what came and nothing of the process but its pid, role, start, host digest and script', async () => {
    const w = diskWorld()
    w.refresh()
    await w.recorder.flush()
    const rows = readRecords(w.folder, records => records.processes())
    expect(rows).toEqual([
      {
        pid: process.pid,
        role: 'gateway',
        startedMs: expect.any(Number),
        title: basename(process.argv[1] ?? ''),
        host: expect.stringMatching(/^[0-9a-f]{12}$/),
        dropped: 0,
      },
    ])
  })

  it.each(CANARIES)('behind the redaction holds no trace of $what', async ({ text, mark }) => {
    const w = diskWorld()
    const redaction = new RedactingSpanProcessor([{ processor: w.recorder, place: 'recorder' }], { onDropped: () => {} })
    const attributes = Object.fromEntries([...Object.keys(ATTRIBUTES), text].map(key => [key, text]))
    const span = spansInto(redaction).tracer.startSpan(SPAN_REFRESH, { attributes })
    span.addEvent(EVENT_BYPASS, attributes)
    span.setStatus({ code: SpanStatusCode.ERROR, message: text })
    span.end()
    await w.recorder.flush()
    const bytes = Buffer.concat(readdirSync(w.folder).map(name => readFileSync(join(w.folder, name))))
    expect(bytes.includes(SPAN_REFRESH)).toBe(true)
    expect(bytes.includes(mark)).toBe(false)
  })

  it('goes on in a new file when somebody removes the folder', async () => {
    const w = diskWorld()
    w.refresh()
    await w.recorder.flush()
    rmSync(w.folder, { recursive: true })
    w.refresh({ caller: 'src/later.ts#f' })
    await w.recorder.flush()
    expect(readRecords(w.folder, records => refreshes(records)).map(({ caller }) => caller)).toEqual(['src/later.ts#f'])
    expect(w.failures).toEqual([])
  })
})

describe('the bounds of the file', () => {
  it('are kept by number, the interesting apart from the bulk', async () => {
    const w = diskWorld({ mostInteresting: 150, mostOrdinary: 20 })
    for (let index = 0; index < 400; index += 1) {
      w.refresh({ caller: `src/a.ts#f${index}` })
      w.tracer.startSpan('chat gpt-5.5').end()
    }
    await w.recorder.flush()
    expect(tableSizes(w.recorder.path)).toEqual({ interesting: 150, ordinary: 20 })
    const callers = readRecords(w.folder, records => refreshes(records, ALL)).map(({ caller }) => caller)
    expect(new Set(callers)).toEqual(new Set(Array.from({ length: 150 }, (_, index) => `src/a.ts#f${index + 250}`)))
  })

  it('are kept by age: the process that writes clears the old away', async () => {
    const w = diskWorld({ mostAgeMs: 3_600_000 })
    const nowMs = Date.now()
    for (let index = 0; index < 1200; index += 1) w.refresh({ startMs: nowMs - 3_590_000, caller: 'src/old.ts#f' })
    w.refresh({ startMs: nowMs, caller: 'src/a.ts#f' })
    await w.recorder.flush()
    expect(countIn(w.folder)).toBe(1201)
    const later = diskWorld({ folder: w.folder, mostAgeMs: 60_000 })
    for (const caller of ['src/b.ts#f', 'src/c.ts#f', 'src/d.ts#f']) {
      later.refresh({ startMs: nowMs, caller })
      await later.recorder.flush()
    }
    const rows = readRecords(w.folder, records => refreshes(records, ALL))
    expect(rows.map(({ caller }) => caller).sort()).toEqual(['src/a.ts#f', 'src/b.ts#f', 'src/c.ts#f', 'src/d.ts#f'])
  })

  it('are kept by size: the bulk goes first', async () => {
    const mostBytes = 1_000_000
    const w = diskWorld({ mostBytes })
    const stack = 'x'.repeat(4_000)
    w.refresh({ caller: 'src/precious.ts#f' })
    for (let index = 0; index < 1500; index += 1) {
      const span = w.tracer.startSpan('chat gpt-5.5', { attributes: { [ATTR_CODE_STACK]: stack } })
      span.end()
      if (index % 500 === 0) await w.recorder.flush()
    }
    await w.recorder.flush()
    expect(readRecords(w.folder, records => refreshes(records)).map(({ caller }) => caller)).toEqual(['src/precious.ts#f'])
    for (let index = 0; index < 1500; index += 1) {
      w.refresh({ caller: `src/a.ts#f${index}`, attributes: { [ATTR_CODE_STACK]: stack } })
      if (index % 500 === 0) await w.recorder.flush()
    }
    await w.recorder.flush()
    expect(readRecords(w.folder, records => refreshes(records))[0]?.caller).toBe('src/a.ts#f1499')
    await w.recorder.shutdown()
    // One batch may stand above the bound until the next one clears it away.
    expect(statSync(w.recorder.path).size).toBeLessThan(mostBytes + 100 * 6_000)
  })

  it.each(['mostInteresting', 'mostOrdinary', 'mostAgeMs', 'mostBytes'] as const)('must be positive whole numbers: %s', bound => {
    expect(() => diskWorld({ [bound]: 0 })).toThrow(RangeError)
  })
})

describe('the queue in front of the file', () => {
  it('is bounded; what does not fit is counted, and the second half is for what is interesting', async () => {
    const drops: unknown[] = []
    const w = diskWorld({ mostWaiting: 10, onDropped: (place, count) => drops.push([place, count]) })
    for (let index = 0; index < 8; index += 1) w.tracer.startSpan('chat gpt-5.5').end()
    for (let index = 0; index < 8; index += 1) w.refresh()
    expect(w.recorder.dropped).toBe(6)
    expect(drops).toEqual(Array(6).fill(['recorder', 1]))
    await w.recorder.flush()
    expect(tableSizes(w.recorder.path)).toEqual({ interesting: 5, ordinary: 5 })
    expect(readRecords(w.folder, records => records.processes())[0]?.dropped).toBe(6)
  })

  it('drops a row that cannot be written, not the others', async () => {
    const w = diskWorld()
    w.refresh({ caller: 'src/a.ts#f' })
    const span = w.tracer.startSpan('odd')
    Object.assign(span, { attributes: { self: span } })
    span.end()
    w.refresh({ caller: 'src/b.ts#g' })
    await w.recorder.flush()
    expect(w.recorder.dropped).toBe(1)
    expect(w.failures).toEqual([])
    expect(countIn(w.folder)).toBe(2)
  })

  it('takes nothing after shutdown, and says so', async () => {
    const w = diskWorld()
    w.refresh()
    await w.recorder.shutdown()
    w.refresh()
    expect(w.recorder.dropped).toBe(1)
    expect(countIn(w.folder)).toBe(1)
    expect(readdirSync(w.folder).filter(name => name.startsWith('recorder'))).toEqual(['recorder.sqlite'])
  })
})

describe('loaded in a preload', () => {
  it('brings nothing of the OpenTelemetry SDK, no SQLite into the thread that loads it, and no word on stderr', async () => {
    const child = startChild('loaded-files.ts', stateFolder())
    const { code, stdout, stderr } = await child.exit
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { urls, ...rest } = JSON.parse(stdout) as { urls: string[] }
    expect(rest).toEqual({ before: false, afterConstruction: false, afterWrite: false, dropped: 0 })
    expect(urls.some(url => url.includes('/src/events/disk-recorder.ts'))).toBe(true)
    expect(urls.filter(url => /@opentelemetry\/(?!api\/)|undici|express/.test(url))).toEqual([])
  })
})

function plain(rows: readonly object[]): object[] {
  return rows.map(row => ({ ...row, pid: undefined, role: undefined, title: undefined, traceId: undefined, spanId: undefined }))
}

/** Refreshes in a folder in which somebody may just begin. */
function countIn(folder: string): number {
  try {
    return readRecords(folder, records => refreshes(records, ALL).length)
  } catch (error) {
    expect(error).toMatchObject({ code: 'GW_CONFIG' })
    return 0
  }
}

function tableSizes(path: string): Record<string, unknown> {
  const database = new DatabaseSync(path, { readOnly: true })
  const row = database
    .prepare('SELECT (SELECT count(*) FROM interesting) AS interesting, (SELECT count(*) FROM ordinary) AS ordinary')
    .get()
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
