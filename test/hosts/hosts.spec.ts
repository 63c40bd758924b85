import { execFile } from 'node:child_process'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { METRICS, SCOPE, SPAN_ACQUIRE, SPAN_REFRESH } from '../../otel/semconv.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { type HostResult, type HostSpan, runHost } from './host.ts'
import { type Installations, installHosts } from './installation.ts'

// Seen: an Express host with SDK 3.1 lost 181 of its 200 spans, and the rest were orphans; with SDK 2.12 no trace was joined.
// Why: the library started an SDK of its own, and brought an API of a higher minor version than the host's.
// Fix: spans and metrics go through the host's API, a peer dependency; no SDK is loaded. Issue 23, point 1.

const REQUESTS = 200
const HOSTS = {
  'sdk-1': '@opentelemetry/sdk-trace-base',
  'sdk-2': '@opentelemetry/sdk-trace-base',
  'sdk-3': '@opentelemetry/sdk-trace',
} as const
type HostName = keyof typeof HOSTS
const NAMES = Object.keys(HOSTS) as HostName[]
const SERVER = 1
const CLIENT = 2
const CALL = 'chat m-1'
const ERROR = 2

const CELLS = NAMES.flatMap(host =>
  ['esm', 'cjs'].flatMap(modules => ['', 'http', 'http,express'].map(instrumentation => ({ host, modules, instrumentation }))),
)

describe('a host', () => {
  let installed: Installations

  beforeAll(async () => {
    installed = await installHosts(NAMES)
  })
  afterAll(() => installed?.remove())

  /** Runs an application of `host` with the host's own SDK registered before it. */
  const withSdk = (
    host: HostName,
    modules: string,
    environment: Record<string, string> = {},
    entry = `app.${modules === 'esm' ? 'mjs' : 'cjs'}`,
  ) =>
    runHost({
      folder: installed.folderOf(host),
      entry,
      before: modules === 'esm' ? ['--import', './telemetry.mjs'] : ['--require', './telemetry.cjs'],
      environment: { HOST_TRACE_PACKAGE: HOSTS[host], ...environment },
      requests: REQUESTS,
    })

  it.concurrent.each(CELLS)(
    'with $host, $modules and [$instrumentation] keeps its spans, and gets ours',
    async ({ host, modules, instrumentation }) => {
      const result = await withSdk(host, modules, { HOST_INSTRUMENTATION: instrumentation })
      expectWhole(result)
      expect(faultsOf(result)).toEqual([])
    },
  )

  it.concurrent('that leaves everything to NodeSDK and OTEL_CONFIG_FILE keeps its spans, and gets ours', async () => {
    const receiver = await startOtlpReceiver()
    try {
      const result = await runHost({
        folder: installed.folderOf('sdk-3'),
        entry: 'app.mjs',
        before: ['--import', './node-sdk.mjs'],
        environment: { OTEL_CONFIG_FILE: join(import.meta.dirname, 'config.yaml'), HOST_OTLP_URL: receiver.url },
        requests: REQUESTS,
      })
      const spans = receiver.spans().map(({ parentSpanId, kind, ...span }) => ({ ...span, parentId: parentSpanId, kind: kind - 1 }))
      const metrics = receiver.metrics().map(({ name, points }) => ({
        name,
        points: points.map(({ attributes, value, count }) => ({ attributes, value: count ?? value })),
      }))
      expectWhole({ ...result, spans, metrics })
      expect(faultsOf(result)).toEqual([])
      expect(new Set(receiver.spans().map(({ resource }) => resource['service.name']))).toEqual(new Set(['the-host']))
    } finally {
      await receiver.stop()
    }
  })

  it.concurrent('that is bundled with the library inside keeps its spans, and gets ours', async () => {
    const folder = installed.folderOf('sdk-3')
    const parameters = ['app.mjs', '--bundle', '--platform=node', '--format=esm', '--outfile=bundled.mjs', '--log-level=error']
    // Express is CommonJS; the SDK stays outside, where `--import` has loaded it.
    const outside = ['--external:express', '--external:@opentelemetry/*', '--external:undici']
    await promisify(execFile)(join(folder, 'node_modules/.bin/esbuild'), [...parameters, ...outside], { cwd: folder })
    const result = await withSdk('sdk-3', 'esm', {}, 'bundled.mjs')
    expectWhole(result)
    expect(faultsOf(result)).toEqual([])
  })

  it.concurrent('with two instances has one that records token requests, and the other says so once', async () => {
    const result = await withSdk('sdk-3', 'esm', { HOST_COPIES: 'gatewatch,gatewatch' })
    expectWhole(result)
    expect(result.faults).toHaveLength(1)
    expect(result.faults[0]).toMatch(/another Gatewatch/)
  })

  it.concurrent('with two copies of the package has one that records token requests, and the other says so once', async () => {
    const folder = installed.folderOf('sdk-3')
    cpSync(join(folder, 'node_modules/gatewatch'), join(folder, 'node_modules/gatewatch-again'), { recursive: true })
    const result = await withSdk('sdk-3', 'esm', { HOST_COPIES: 'gatewatch,gatewatch-again' })
    expectWhole(result)
    expect(result.faults).toHaveLength(1)
    expect(result.faults[0]).toMatch(/another Gatewatch/)
  })

  it.concurrent.each(['esm', 'cjs'])('without any SDK (%s) runs on, is recorded, and has nothing registered', async modules => {
    const result = await runHost({ folder: installed.bare, entry: `app.${modules === 'esm' ? 'mjs' : 'cjs'}`, requests: REQUESTS })
    expect(result.answers.filter(status => status !== 200)).toEqual([])
    expect(result).toMatchObject({ spans: [], metrics: [], faults: [], errors: [] })
    expect(result.globals.filter(name => !['version', 'diag'].includes(name))).toEqual([])
    const [own] = result.own
    expect(own?.events).toBeGreaterThan(0)
    expect(countIn(own?.metrics ?? '', 'gatewatch_gate_acquisitions_total')).toBe(REQUESTS)
  })
})

/** Everything the host made arrived as it was made, ours is in its traces, and our metrics are in its reader. */
function expectWhole(result: HostResult): void {
  const { spans, traceIds } = result
  expect(result.answers.filter(status => status !== 200)).toEqual([])
  expect(result.errors).toEqual([])
  const byId = new Map(spans.map(span => [span.spanId, span]))
  const of = (name: string) => spans.filter(span => span.name === name)
  const parentOf = (span: HostSpan) => byId.get(span.parentId ?? '')
  /** The nearest span above that is a SERVER span of the same trace. */
  const serverOf = (span: HostSpan): HostSpan | undefined => {
    for (let above = parentOf(span); above?.traceId === span.traceId; above = parentOf(above)) if (above.kind === SERVER) return above
    return undefined
  }

  const servers = spans.filter(({ kind }) => kind === SERVER)
  expect(servers.map(({ traceId }) => traceId).sort()).toEqual([...traceIds].sort())

  // The host's own SERVER span, where it has one, and else ours: the middleware knows the route.
  expect(servers.filter(({ attributes }) => attributes['http.route'] !== '/answer/:id')).toEqual([])

  const works = of('host work')
  expect(works).toHaveLength(REQUESTS)
  expect(works.filter(work => !serverOf(work))).toEqual([])
  const seen = works.map(({ attributes, status, events, traceId }) => ({
    id: attributes['app.id'],
    traceId,
    status: status.code === ERROR ? status.message : status,
    exceptions: events.map(({ name, attributes }) => `${name}: ${attributes?.['exception.message']}`),
  }))
  expect(seen.sort((one, other) => Number(one.id) - Number(other.id))).toEqual(
    traceIds.map((traceId, id) => ({ id, traceId, status: `status of ${id}`, exceptions: [`exception: failed ${id}`] })),
  )
  // What the application sets on the span that is active in its route, in the wrapped call and in the wrapped refresh.
  const asked = spans.filter(({ attributes }) => 'app.request' in attributes)
  expect(asked.map(({ attributes, traceId }) => traceIds[Number(attributes['app.request'])] === traceId)).toEqual(traceIds.map(() => true))

  const calls = of(CALL)
  expect(calls).toHaveLength(REQUESTS)
  expect(calls.filter(call => parentOf(call)?.name !== 'host work')).toEqual([])
  expect(calls.filter(({ attributes, traceId }) => traceIds[Number(attributes['app.call'])] !== traceId)).toEqual([])
  expect(calls.filter(({ attributes }) => typeof attributes['gatewatch.caller'] !== 'string')).toEqual([])

  const acquisitions = of(SPAN_ACQUIRE)
  expect(acquisitions).toHaveLength(REQUESTS)
  expect(acquisitions.filter(acquisition => parentOf(acquisition)?.name !== 'host work')).toEqual([])
  const refreshes = of(SPAN_REFRESH)
  expect(refreshes.length).toBeGreaterThan(0)
  expect(refreshes.filter(refresh => parentOf(refresh)?.name !== SPAN_ACQUIRE || parentOf(refresh)?.traceId !== refresh.traceId)).toEqual(
    [],
  )
  const flown = new Set(refreshes.map(({ spanId }) => spanId))
  expect(acquisitions.filter(({ links }) => !links.some(({ spanId }) => flown.has(spanId)))).toEqual([])
  expect(refreshes.filter(({ attributes, traceId }) => traceIds[Number(attributes['app.refresh'])] !== traceId)).toEqual([])

  // The clients of instrumentation-http hang under what they were made in; as an ES module its version 0.57 makes two for each request.
  const isClient = (span: HostSpan | undefined) => span?.kind === CLIENT && span.scope?.includes('instrumentation-http')
  const clients = spans.filter(span => isClient(span) && !isClient(parentOf(span)))
  expect(clients.filter(client => ![CALL, SPAN_REFRESH].includes(parentOf(client)?.name ?? ''))).toEqual([])

  const counted = (name: string) =>
    result.metrics
      .filter(metric => metric.name === name)
      .flatMap(({ points }) => points)
      .reduce((sum, { value }) => sum + value, 0)
  expect(counted(METRICS.acquisitions.name)).toBe(REQUESTS)
  expect(counted(METRICS.attemptDuration.name)).toBe(REQUESTS)
  expect(counted(METRICS.refreshDuration.name)).toBe(refreshes.length)
  for (const metric of [METRICS.acquisitions, METRICS.attemptDuration])
    expect(result.metrics.filter(({ name }) => name === metric.name).map(({ scope = SCOPE }) => scope)).toEqual([SCOPE])
  const shown = JSON.stringify([spans, result.metrics])
  expect(shown.match(/canary-\w+/g) ?? []).toEqual([])
}

/** Faults of ours, and what OpenTelemetry says about us. */
function faultsOf({ faults, log, stderr }: HostResult): string[] {
  return [...faults, ...log, ...stderr.split('\n').filter(line => /gatewatch/i.test(line))]
}

/** Sum of the samples of a family in the Prometheus text format. */
function countIn(text: string, family: string): number {
  const samples = text.matchAll(new RegExp(`^${family}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))
  return Array.from(samples, ([, value]) => Number(value)).reduce((sum, value) => sum + value, 0)
}
