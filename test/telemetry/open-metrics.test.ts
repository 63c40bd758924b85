import { spawnSync } from 'node:child_process'
import { context, type Meter, ROOT_CONTEXT, type SpanContext, TraceFlags, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { describe, expect, it } from 'vitest'
import { prometheusName } from '../../otel/prometheus-name.ts'
import { collectedMetrics } from '../../otel/sdk/collected-metrics.ts'
import { PullMetricReader } from '../../otel/sdk/metric-reader.ts'
import { SeriesProducer } from '../../otel/sdk/series-producer.ts'
import { LABEL_CALLER, METRICS, type MetricDefinition, OTHER } from '../../otel/semconv.ts'
import { Instruments } from '../../src/telemetry/instruments.ts'
import { MetricStorage } from '../../src/telemetry/metric-storage.ts'
import { negotiate } from '../../src/telemetry/metrics-negotiation.ts'
import { type MetricsFormat, writeMetrics } from '../../src/telemetry/open-metrics.ts'
import { parseOpenMetrics } from '../support/open-metrics-parser.ts'
import { recordEverything } from './record-everything.ts'

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'

function sampled(traceId: string): SpanContext {
  return { traceId, spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED }
}

function world() {
  const storage = new MetricStorage()
  const reader = new PullMetricReader(new SeriesProducer(storage))
  const resource = resourceFromAttributes({ 'service.name': 'gate"watch', 'service.version': '1.2.3', 'service.instance.id': 'a\\b\nc' })
  const meter: Meter = new MeterProvider({ resource, readers: [reader] }).getMeter('gatewatch', '1.2.3')
  const instruments = new Instruments(storage)
  const write = async (format: MetricsFormat) => {
    const { resourceMetrics } = await reader.collect()
    return writeMetrics(resourceMetrics.resource.attributes, collectedMetrics(resourceMetrics), storage, format)
  }
  const families = async () => parseOpenMetrics(await write('openmetrics'))
  return { meter, storage, instruments, write, families }
}

describe('/metrics in OpenMetrics', () => {
  it('holds every metric under its Prometheus name, with its help and unit', async () => {
    const w = world()
    recordEverything(w.instruments)
    const families = await w.families()
    for (const metric of Object.values<MetricDefinition>(METRICS)) {
      const name = prometheusName(metric)
      const family = families.find(candidate => candidate.name === name.replace(/_total$/, ''))
      expect(family, name).toMatchObject({ type: metric.kind, help: metric.help, unit: metric.unit === 's' ? 'seconds' : '' })
      expect(family?.samples.length, name).toBeGreaterThan(0)
    }
    expect(families).toHaveLength(Object.keys(METRICS).length + 1)
  })

  it('says in target_info what the process is, and escapes what must be', async () => {
    const [target] = await world().families()
    expect(target).toMatchObject({
      name: 'target',
      type: 'info',
      samples: [
        {
          name: 'target_info',
          value: 1,
          labels: { service_name: 'gate"watch', service_version: '1.2.3', service_instance_id: 'a\\b\nc' },
        },
      ],
    })
  })

  it('escapes label values and never shows the scope', async () => {
    const w = world()
    w.instruments.add('bypasses', { provider: 'a"b\\c\nd', caller: 'x', policy: 'observe' })
    const families = await w.families()
    expect(families.at(-1)?.samples[0]?.labels).toEqual({ provider: 'a"b\\c\nd', caller: 'x', policy: 'observe' })
  })

  it('counts buckets up to their bound, with canonical bounds', async () => {
    const w = world()
    for (const value of [1, 1.5, 86_400, 1e9]) w.instruments.record('tokenAge', value, { provider: 'p' })
    const samples = (await w.families()).at(-1)?.samples ?? []
    const buckets = samples.filter(({ name }) => name.endsWith('_bucket')).map(({ labels, value }) => `${labels.le} ${value}`)
    expect(buckets).toEqual([
      ...['1.0 1', '10.0 2', '30.0 2', '60.0 2', '300.0 2', '900.0 2', '3600.0 2', '14400.0 2', '28800.0 2'],
      ...['86400.0 3', '259200.0 3', '864000.0 3', '2.592e+06 3', '+Inf 4'],
    ])
  })

  it('shows the trace that last fell into a bucket', async () => {
    const w = world()
    w.instruments.record('refreshDuration', 0.3, { provider: 'p', reason: 'forced' }, sampled(TRACE_ID))
    w.instruments.record('refreshDuration', 500, { provider: 'p', reason: 'forced' }, sampled(TRACE_ID.replace('0', '1')))
    w.instruments.record('refreshDuration', 0.0001, { provider: 'p', reason: 'forced' })
    w.instruments.record(
      'refreshDuration',
      0.02,
      { provider: 'p', reason: 'forced' },
      { ...sampled(TRACE_ID), traceFlags: TraceFlags.NONE },
    )
    const exemplars = ((await w.families()).at(-1)?.samples ?? []).flatMap(({ labels, exemplar }) =>
      exemplar ? [[labels.le, exemplar]] : [],
    )
    expect(exemplars).toEqual([
      ['0.5', { labels: { trace_id: TRACE_ID }, value: 0.3, timestamp: expect.any(Number) }],
      ['+Inf', { labels: { trace_id: TRACE_ID.replace('0', '1') }, value: 500, timestamp: expect.any(Number) }],
    ])
  })

  it('shows one of two foreign metrics that would become the same series, so that the rest can be read', async () => {
    const w = world()
    w.meter.createUpDownCounter('x.open', { unit: '{connection}' }).add(-2)
    w.meter.createGauge('x-open').record(1)
    w.meter.createCounter('x_open').add(1)
    expect((await w.families()).filter(({ name }) => name === 'x_open')).toMatchObject([{ type: 'gauge', samples: [{ value: -2 }] }])
  })

  it('shows 200 of 10,000 callers, the rest as _other, and counts what it did not show', async () => {
    const w = world()
    for (let index = 0; index < 10_000; index += 1)
      w.instruments.add('bypasses', { provider: 'p', caller: `src/a.ts#f${index}`, policy: 'observe' })
    const families = await w.families()
    const bypasses = families.find(({ name }) => name === 'gatewatch_gate_bypasses')?.samples ?? []
    expect(bypasses).toHaveLength(201)
    expect(bypasses.find(({ labels }) => labels.caller === OTHER)?.value).toBe(9_800)
    const overflows = families.find(({ name }) => name === 'gatewatch_telemetry_label_overflows')
    expect(overflows?.samples).toMatchObject([{ labels: { label: LABEL_CALLER }, value: 9_800 }])
  })

  it('answers even when nothing was measured', async () => {
    expect(await world().families()).toHaveLength(1)
  })
})

describe('/metrics in the Prometheus text format', () => {
  it('has neither exemplars nor an end mark', async () => {
    const w = world()
    w.instruments.record('refreshDuration', 0.3, { provider: 'p' }, sampled(TRACE_ID))
    w.instruments.add('acquisitions', { provider: 'p', decision: 'lead' })
    const text = await w.write('prometheus')
    expect(text).not.toContain('trace_id')
    expect(text).not.toContain('# EOF')
    expect(text).toContain('# TYPE target_info gauge\n')
    expect(text).toContain(
      `# TYPE gatewatch_gate_acquisitions_total counter\ngatewatch_gate_acquisitions_total{decision="lead",provider="p"} 1\n`,
    )
  })

  it('has the same series as OpenMetrics', async () => {
    const w = world()
    recordEverything(w.instruments)
    const samples = (text: string) => text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
    expect(samples(await w.write('prometheus'))).toEqual(samples(await w.write('openmetrics')))
  })

  const promtool = spawnSync('promtool', ['--version']).status === 0
  it.skipIf(!promtool && !process.env.CI)('passes promtool check metrics (not on the PATH? apt-get install prometheus)', async () => {
    const w = world()
    recordEverything(w.instruments)
    const check = spawnSync('promtool', ['check', 'metrics'], { input: await w.write('prometheus'), encoding: 'utf8' })
    expect(check.error).toBeUndefined()
    // Exit code 3 is a matter of taste (its own naming advice), 1 an error in the text.
    expect({ status: check.status, complaints: check.stderr }).toEqual({ status: 0, complaints: '' })
  })
})

describe('exemplars', () => {
  const recordIn = (spanContext: SpanContext) => {
    const w = world()
    const active = trace.setSpanContext(ROOT_CONTEXT, spanContext)
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    context.with(active, () => w.instruments.record('acquisitionWait', 0.2, { provider: 'p' }))
    context.disable()
    return w.storage.exemplarsOf(w.storage.series('acquisitionWait', { provider: 'p' }).labels).filter(Boolean)
  }

  it('come from the active span', () => {
    const kept = recordIn({ traceId: TRACE_ID, spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED })
    expect(kept).toMatchObject([{ traceId: TRACE_ID, value: 0.2 }])
  })

  it('come from sampled spans only, since the others are not stored', () => {
    expect(recordIn({ traceId: TRACE_ID, spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.NONE })).toEqual([])
    expect(recordIn({ traceId: '0'.repeat(32), spanId: '0'.repeat(16), traceFlags: TraceFlags.SAMPLED })).toEqual([])
  })
})

describe('which format /metrics answers in', () => {
  it.each([
    [
      'what Prometheus 2 sends',
      'application/openmetrics-text; version=1.0.0,application/openmetrics-text; version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
      'openmetrics',
    ],
    [
      'what Prometheus 3 sends',
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'openmetrics',
    ],
    ['what a browser sends', 'text/html,application/xhtml+xml,*/*;q=0.8', 'prometheus'],
    ['what curl sends', '*/*', 'prometheus'],
    ['nothing', undefined, 'prometheus'],
    ['text before OpenMetrics', 'application/openmetrics-text;q=0.3, text/plain', 'prometheus'],
    ['OpenMetrics refused', 'application/openmetrics-text;q=0', 'prometheus'],
    ['a version that does not exist', 'application/openmetrics-text;version=7.0.0', 'prometheus'],
  ] as const)('%s', (_, accept, format) => {
    expect(negotiate(accept).format).toBe(format)
  })

  it('names the version it answers with', () => {
    expect(negotiate('application/openmetrics-text').contentType).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8')
    expect(negotiate('text/plain').contentType).toBe('text/plain; version=0.0.4; charset=utf-8')
  })
})
