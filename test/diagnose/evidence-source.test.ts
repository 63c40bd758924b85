import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { startStandaloneSdk } from '../../otel/sdk/sdk.ts'
import { diagnosisText } from '../../src/cli/finding-text.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import type { Evidence } from '../../src/diagnose/evidence.ts'
import { evidenceFrom, evidenceIn } from '../../src/diagnose/evidence-source.ts'
import { diagnosisOf } from '../../src/diagnose/running-diagnosis.ts'
import { eventFile } from '../../src/events/event-file.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { diskWorld } from '../events/world.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { codexLogin, providersOf } from '../support/gateway-world.ts'

const ACCOUNT = 'acct-reported'
const CANARY = 'sk-canary-0123456789abcdefghijklmnopqrstuvwxyz'

describe('the same failure', () => {
  it('is reported alike from a running gateway, from disk, from the file alone and from what was exported as OTLP JSON', async () => {
    const { watch, state, exported } = await failedGateway()
    const running = await diagnosisOf(watch.events.source).of()
    await watch.close()
    // `close` waits some seconds for the exporter and for the thread that writes: on a slow disk both may take longer.
    await expect.poll(() => exported().length).toBeGreaterThan(0)
    await expect.poll(() => readdirSync(state)).toEqual(['events.sqlite'])
    const file = join(folder(), 'traces.jsonl')
    writeFileSync(file, exported().join('\n'))
    const copy = join(folder(), 'from-another-machine.db')
    copyFileSync(eventFile(state), copy)

    expect(running.findings.map(({ kind }) => kind)).toEqual(['grant_expired'])
    const reported = [evidenceIn(state), evidenceFrom(copy), evidenceFrom(file)].map(evidence => diagnose(evidence))
    for (const { findings, checked } of reported) {
      expect(findings).toMatchObject(
        running.findings.map(({ kind, what, seen, profiles, traceIds }) => ({
          kind,
          what,
          seen: { count: seen.count },
          profiles,
          traceIds,
        })),
      )
      expect(checked.counts).toEqual(running.checked.counts)
    }
    expect(reported.map(({ findings }) => findings[0]?.callers[0]?.processes[0]?.pid)).toEqual([process.pid, process.pid, process.pid])
  })

  it('is not reported when it is older than the requested time', async () => {
    const { watch, state, exported } = await failedGateway()
    await watch.close()
    const file = join(folder(), 'traces.jsonl')
    writeFileSync(file, exported().join('\n'))
    const sinceMs = Date.now() + 1_000
    for (const evidence of [evidenceIn(state, { sinceMs }), evidenceFrom(file, { sinceMs })])
      expect(diagnose(evidence)).toMatchObject({ findings: [], checked: { events: 0 } })
  })
})

describe('a file of traces', () => {
  it('may be one message over many lines, and may end in the middle of a line', async () => {
    const { watch, exported } = await failedGateway()
    await watch.close()
    const [first = '{}', ...rest] = exported()
    const pretty = join(folder(), 'pretty.json')
    const resourceSpans = [first, ...rest].flatMap(text => (JSON.parse(text) as { resourceSpans: unknown[] }).resourceSpans)
    writeFileSync(pretty, JSON.stringify({ resourceSpans }, undefined, 2))
    const cut = join(folder(), 'cut.jsonl')
    writeFileSync(cut, `${exported().join('\n')}\n${first.slice(0, first.length / 2)}`)
    for (const path of [pretty, cut]) expect(diagnose(evidenceFrom(path)).findings[0]?.kind).toBe('grant_expired')
  })

  it('may hold secrets, of which none is reported', () => {
    const file = join(folder(), 'careless.json')
    const attributes = [
      { key: 'gatewatch.provider', value: { stringValue: 'openai-codex' } },
      { key: 'gatewatch.caller', value: { stringValue: `src/x.ts#${CANARY}` } },
      { key: 'gatewatch.outcome', value: { stringValue: 'grant_expired' } },
      { key: 'gatewatch.refresh_token.fingerprint_before', value: { stringValue: CANARY } },
      { key: 'http.request.header.authorization', value: { stringValue: CANARY } },
    ]
    const span = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8), name: 'gatewatch.oauth.refresh', status: { code: 2 }, attributes }
    writeFileSync(file, JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }))
    const diagnosis = diagnose(evidenceFrom(file))
    expect(diagnosis.findings).toHaveLength(1)
    expect(JSON.stringify(diagnosis)).not.toContain('canary')
  })
})

describe('a file that cannot be read as one of ours', () => {
  const foreign = {
    resourceSpans: [{ scopeSpans: [{ spans: [{ name: 'GET /', attributes: [{ key: 'user.id', value: { stringValue: 'x' } }] }] }] }],
  }

  it.each<[string, string | Buffer, RegExp]>([
    ['empty', '', /is empty/],
    ['white space', ' \n\n', /is empty/],
    ['text', 'a diary\nof a user\n', /neither an event store nor JSON/],
    ['random bytes', createHash('sha512').update('x').digest(), /neither an event store nor JSON/],
    ['JSON of another kind', '{"name":"x"}', /holds no span/],
    ['a list', '[1,2]', /neither an event store nor JSON/],
    ["another caller's traces", JSON.stringify(foreign), /holds 1 spans, none of which carries an attribute of Gatewatch/],
    ['traces with rubbish between', `${JSON.stringify(foreign)}\nrubbish\n${JSON.stringify(foreign)}`, /no JSON in line 2/],
  ])('%s: a clear error, and the file is unchanged', (_what, content, message) => {
    const file = join(folder(), 'given')
    writeFileSync(file, content)
    const before = readFileSync(file)
    expect(() => evidenceFrom(file)).toThrow(expect.objectContaining({ code: 'GW_CONFIG', message: expect.stringMatching(message) }))
    expect(readFileSync(file)).toEqual(before)
  })

  it('a recorder that was cut: damaged, untouched, nothing written next to it', async () => {
    const { watch, state } = await failedGateway()
    await watch.close()
    const file = join(folder(), 'cut.sqlite')
    copyFileSync(eventFile(state), file)
    truncateSync(file, 9_000)
    const before = readFileSync(file)
    expect(() => evidenceFrom(file)).toThrow(expect.objectContaining({ code: 'GW_STORE_DAMAGED' }))
    expect(readFileSync(file)).toEqual(before)
    expect(readdirSync(join(file, '..'))).toEqual(['cut.sqlite'])
  })

  it('the database of another program: damaged as a recorder, untouched', () => {
    const file = join(folder(), 'other.sqlite')
    const database = new DatabaseSync(file)
    database.exec('CREATE TABLE other (value TEXT)')
    database.close()
    const before = readFileSync(file)
    expect(() => evidenceFrom(file)).toThrow(expect.objectContaining({ code: 'GW_STORE_DAMAGED' }))
    expect(readFileSync(file)).toEqual(before)
  })

  it('nothing at all, or a folder', () => {
    expect(() => evidenceFrom(join(folder(), 'nowhere'))).toThrow(expect.objectContaining({ code: 'GW_STORE_UNREADABLE' }))
    expect(() => evidenceFrom(folder())).toThrow(expect.objectContaining({ code: 'GW_CONFIG' }))
    expect(() => evidenceIn(join(folder(), 'nowhere'))).toThrow(expect.objectContaining({ code: 'GW_CONFIG' }))
  })
})

/** A gateway whose login has expired, recording to disk and exporting to a receiver that keeps what it gets. */
async function failedGateway() {
  const bodies: string[] = []
  const receiver = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      if (request.url === '/v1/traces') bodies.push((request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString())
      response.setHeader('content-type', 'application/json')
      response.end('{}')
    })
  })
  await new Promise<void>(resolve => receiver.listen(0, '127.0.0.1', resolve))
  afterwards(() => {
    receiver.closeAllConnections()
    receiver.close()
  })
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  const state = stateFolder()
  const watch = await startGatewatch({
    store: memoryStore([codexLogin(simulator, ACCOUNT, { firstAccessLifeMs: -1_000 })]),
    providers: providersOf(simulator),
    recordIn: state,
    processRole: 'gateway',
    startTelemetry: startStandaloneSdk,
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_METRICS_EXPORTER: 'none',
    },
  })
  afterwards(() => watch.close())
  simulator.expireGrant(ACCOUNT)
  const call = watch.call({ protocol: 'responses', model: 'gpt-5.5', body: { model: 'gpt-5.5', input: 'hello', store: false } })
  await expect(call).rejects.toMatchObject({ code: 'GW_ALL_PROFILES_FAILED' })
  return { watch, state, exported: () => bodies }
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'gatewatch-evidence-'))
  mkdirSync(path, { recursive: true })
  afterwards(() => rmSync(path, { recursive: true, force: true }))
  return path
}

// Seen: diagnose read a recorder of 2 GB whole, in 72 s and with 2 GB of memory.
// Why: every span that was kept was parsed, and stayed in memory with its stack.
// The fix: the newest spans of a time, read backwards, with what rules read. Issue 1, D6 (figures: bench/diagnose-large.ts).
describe('a recorder that holds more than is read', () => {
  const DAY_MS = 86_400_000

  /** Refreshes that ended so many days ago, in the order in which they were recorded. */
  async function recorded(...daysAgo: number[]) {
    const w = diskWorld({ mostAgeMs: 100 * DAY_MS })
    for (const days of daysAgo) w.refresh({ caller: `src/${days}.ts#f`, startMs: Date.now() - days * DAY_MS - 1_000 })
    await w.store.shutdown()
    return w.folder
  }
  const seen = (evidence: Evidence) => evidence.refreshes.map(({ caller }) => caller.label)

  it('is read for the last 7 days, or the time that is named', async () => {
    const state = await recorded(40, 20, 6, 8, 0)
    expect(seen(evidenceIn(state))).toEqual(['src/6.ts#f', 'src/0.ts#f'])
    expect(evidenceIn(state).extent.leftOut).toBe(0)
    expect(seen(evidenceIn(state, { sinceMs: Date.now() - 28 * DAY_MS }))).toHaveLength(4)
    expect(seen(evidenceFrom(eventFile(state)))).toHaveLength(5)
  })

  it('is read from the newest back, and reports what was left out', async () => {
    const state = await recorded(5, 4, 3, 2, 1, 0)
    const evidence = evidenceIn(state, { most: { kept: 2, bulk: 2 }, sinceMs: Date.now() - 4.5 * DAY_MS })
    expect(seen(evidence)).toEqual(['src/1.ts#f', 'src/0.ts#f'])
    expect(evidence.extent).toMatchObject({ events: 2, leftOut: 3 })
    expect(diagnosisText(diagnose(evidence), Date.now()).replaceAll(/\s+/g, ' ')).toContain(
      'About 3 older events of this time were left out',
    )
  })

  it('keeps no stack of a caller', async () => {
    const w = diskWorld()
    w.refresh({ caller: { label: 'src/a.ts#f', kind: 'code', file: 'src/a.ts', stack: 'f (src/a.ts:1:1)' } })
    await w.store.shutdown()
    const [refresh] = evidenceIn(w.folder).refreshes
    expect(refresh?.caller.file).toBe('src/a.ts')
    expect(JSON.stringify(refresh)).not.toContain('src/a.ts:1:1')
  })
})
