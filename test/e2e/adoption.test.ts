import { afterEach, describe, expect, it } from 'vitest'
import {
  ATTR_ACQUISITIONS,
  ATTR_CALLER,
  ATTR_CODE_FILE,
  ATTR_CODE_FUNCTION,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_DECISION,
  ATTR_HTTP_ROUTE,
  ATTR_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_REASON,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  ATTR_VIA,
  EVENT_BYPASS,
  METRICS,
  SPAN_ACQUIRE,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../support/otlp-receiver.ts'
import { source, startOtherGateway, type Version } from './other-gateway.ts'

const stops: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

/** A version of the gateway as a process of its own, a simulated provider, a real OTLP receiver. One account, its token expired. */
async function world(version: Version, simulated: SimulatorOptions = {}) {
  const simulator = await startSimulator(simulated)
  stops.push(simulator.stop)
  const otlp = await startOtlpReceiver()
  stops.push(otlp.stop)
  const grants = { mine: simulator.grantFor({ provider: 'acme', account: 'mine', firstAccessLifeMs: -60_000 }) }
  const environment = {
    OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
    OTEL_LOGS_EXPORTER: 'none',
    OTEL_BSP_SCHEDULE_DELAY: '50',
    OTEL_METRIC_EXPORT_INTERVAL: '200',
    OTEL_METRIC_EXPORT_TIMEOUT: '200',
  }
  const gateway = await startOtherGateway(version, { simulator, grants, environment })
  stops.push(gateway.stop)
  return { simulator, otlp, gateway, tokenRequests: () => simulator.counts().tokenRequests.total }
}

describe('a gateway that the application wrote', () => {
  it('takes Gatewatch in by six lines more and none changed', () => {
    const { added, removed } = changedLines(source('before.mjs'), source('after.mjs'))
    expect({ added: added.length, removed: removed.length }).toEqual({ added: 6, removed: 0 })
    for (const line of added) expect(line.length).toBeLessThanOrEqual(140)
    expect(added.join('\n')).toContain("from 'gatewatch'")
    expect(changedLines('a\nb\nc', 'a\nx\nc\nd')).toEqual({ added: ['x', 'd'], removed: ['b'] })
  })

  it('sends several token requests for fifty callers as long as it has no gate', async () => {
    const second = Promise.withResolvers<void>()
    let received = 0
    // The first answer waits until another caller has asked as well: with a gate none would, and it would wait forever.
    const onTokenRequest = (step: string) => {
      if (step !== 'received') return undefined
      received += 1
      if (received === 2) second.resolve()
      return second.promise
    }
    const { gateway, tokenRequests, otlp } = await world('before.mjs', { onTokenRequest })
    await Promise.all(Array.from({ length: 50 }, () => gateway.chat('mine')))
    expect(tokenRequests()).toBeGreaterThan(1)
    expect(otlp.spans()).toEqual([])
  })

  it('sends one for them all when it has one, and says who came, why, and who led', async () => {
    const { gateway, tokenRequests, otlp, simulator } = await world('after.mjs')
    simulator.inject({ where: 'token', latencyMs: 300 })
    const answers = await Promise.all(Array.from({ length: 50 }, () => gateway.chat('mine')))
    expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200))
    expect(tokenRequests()).toBe(1)
    expect(simulator.counts().tokenRequests.byOutcome).toEqual({ rotated: 1 })

    // A request's span ends after its acquisition's; who came when the new token was there already had no need to acquisition.
    const inbound = await received(otlp, 'POST /chat/:id', 50)
    const acquisitions = await received(otlp, SPAN_ACQUIRE, 2)
    for (const { attributes } of acquisitions)
      expect(attributes).toMatchObject({
        [ATTR_PROVIDER]: 'acme',
        [ATTR_PROFILE]: 'mine',
        [ATTR_REASON]: 'expired',
        ...codeOf('usable', 'accounts.refresh(account, false)'),
      })
    const [refresh, ...others] = await received(otlp, SPAN_REFRESH, 1)
    expect(others).toEqual([])
    const boarded = acquisitions.filter(({ attributes }) => attributes[ATTR_DECISION] !== 'adopt')
    expect(boarded.filter(({ attributes }) => attributes[ATTR_DECISION] === 'lead')).toHaveLength(1)
    expect(refresh?.attributes).toMatchObject({
      [ATTR_VIA]: 'gate',
      [ATTR_OUTCOME]: 'rotated',
      [ATTR_REASON]: 'expired',
      [ATTR_ACQUISITIONS]: boarded.length,
      ...codeOf('usable', 'accounts.refresh(account, false)'),
    })
    expect(refresh?.links.map(({ spanId }) => spanId).sort()).toEqual(boarded.map(({ spanId }) => spanId).sort())
    const routes = new Map(inbound.map(({ spanId, attributes }) => [spanId, attributes[ATTR_HTTP_ROUTE]]))
    expect(acquisitions.map(({ parentSpanId }) => routes.get(parentSpanId))).toEqual(acquisitions.map(() => '/chat/:id'))
    await until(() => counted(otlp, METRICS.acquisitions.name) === acquisitions.length)
  })

  it('distinguishes the refresh after a rejection from the one after expiry', async () => {
    const { gateway, tokenRequests, otlp, simulator } = await world('after.mjs')
    await gateway.chat('mine')
    simulator.expireAccess('mine')
    const answers = await Promise.all(Array.from({ length: 20 }, () => gateway.chat('mine')))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(tokenRequests()).toBe(2)
    const refreshes = await received(otlp, SPAN_REFRESH, 2)
    expect(refreshes.map(({ attributes }) => [attributes[ATTR_REASON], attributes[ATTR_CALLER]])).toEqual([
      ['expired', 'after.mjs#usable'],
      ['rejected', 'after.mjs#chat'],
    ])
  })

  it('finds out about the code path that refreshes behind its back, with file, line and stack', async () => {
    const { gateway, otlp } = await world('after.mjs')
    await gateway.chat('mine')
    expect((await gateway.quota('mine')).status).toBe(200)
    const spans = await received(otlp, SPAN_REFRESH, 2)
    const [bypass, ...others] = spans.filter(({ attributes }) => attributes[ATTR_VIA] === 'bypass')
    expect(others).toEqual([])
    expect(bypass?.attributes).toMatchObject({
      [ATTR_PROVIDER]: 'acme',
      [ATTR_OUTCOME]: 'rotated',
      [ATTR_REQUEST_ENCODING]: 'json',
      [ATTR_REQUEST_FIELDS]: expect.stringMatching(/^client_id=opaque:11 grant_type=refresh_token refresh_token=opaque:\d+$/),
      ...codeOf('quota', "body, headers: { 'content-type': 'application/json' } })", 'const answer = await fetch(TOKEN_URL'),
    })
    expect(String(bypass?.attributes[ATTR_CODE_STACK])).toMatch(/^(async )?quota \(after\.mjs:\d+:\d+\)/)
    expect(bypass?.events.map(({ name }) => name)).toContain(EVENT_BYPASS)
    const [inbound] = await received(otlp, 'GET /quota/:id', 1)
    expect(bypass).toMatchObject({ traceId: inbound?.traceId, parentSpanId: inbound?.spanId })
    await until(() => counted(otlp, METRICS.bypasses.name) === 1)
  })
})

describe('what Gatewatch wraps', () => {
  it('can take the place of a method', async () => {
    const gatewatch = await startGatewatch({ environment: {} })
    stops.push(() => gatewatch.close())
    const account = {
      name: 'mine',
      async report(word: string) {
        return `${word} ${this.name}`
      },
    }
    const reading = { provider: 'acme', profile: () => 'mine' }
    const wrapped = [
      gatewatch.wrapRefresh(account.report, { ...reading, tokenUrl: 'https://token.example/' }),
      gatewatch.wrapCall(account.report, reading),
      gatewatch.wrapOperation('login', account.report, reading),
      gatewatch.wrapOperation('exchange', account.report, { ...reading, tokenUrl: 'https://token.example/' }),
    ]
    for (const report of wrapped) {
      account.report = report
      expect(await account.report('it is')).toBe('it is mine')
    }
  })
})

/** Where a piece of code stands in `after.mjs`, as a span names it. */
function codeOf(name: string, ...pieces: string[]) {
  const line = source('after.mjs')
    .split('\n')
    .findIndex(text => pieces.every(piece => text.includes(piece)))
  expect(line).toBeGreaterThan(0)
  return { [ATTR_CALLER]: `after.mjs#${name}`, [ATTR_CODE_FUNCTION]: name, [ATTR_CODE_FILE]: 'after.mjs', [ATTR_CODE_LINE]: line + 1 }
}

async function received(otlp: OtlpReceiver, name: string, atLeast: number): Promise<ReceivedSpan[]> {
  const found = () => otlp.spans().filter(span => span.name === name)
  await until(() => found().length >= atLeast)
  return found()
}

/** The sum of a counter over its series, as last exported. */
function counted(otlp: OtlpReceiver, name: string): number {
  const points = otlp.metrics().find(metric => metric.name === name)?.points ?? []
  return points.reduce((sum, { value }) => sum + value, 0)
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise(resolve => setTimeout(resolve, 10))
}

/** The lines that one text has and the other has not, by their longest common subsequence. */
function changedLines(before: string, after: string): { added: string[]; removed: string[] } {
  const [old, fresh] = [before.split('\n'), after.split('\n')]
  const common = Array.from({ length: old.length + 1 }, () => Array<number>(fresh.length + 1).fill(0))
  const at = (row: number, column: number) => common[row]?.[column] ?? 0
  for (let row = old.length - 1; row >= 0; row -= 1)
    for (let column = fresh.length - 1; column >= 0; column -= 1)
      (common[row] as number[])[column] =
        old[row] === fresh[column] ? at(row + 1, column + 1) + 1 : Math.max(at(row + 1, column), at(row, column + 1))
  const added: string[] = []
  const removed: string[] = []
  let row = 0
  let column = 0
  while (row < old.length && column < fresh.length) {
    if (old[row] === fresh[column]) {
      row += 1
      column += 1
    } else if (at(row, column + 1) > at(row + 1, column)) added.push(fresh[column++] as string)
    else removed.push(old[row++] as string)
  }
  return { added: [...added, ...fresh.slice(column)], removed: [...removed, ...old.slice(row)] }
}
