import { context, metrics, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  AlwaysOffSampler,
  InMemorySpanExporter,
  type Sampler,
  SimpleSpanProcessor,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import { afterEach, describe, expect, it } from 'vitest'
import { PullMetricReader } from '../../otel/sdk/metric-reader.ts'
import { ATTR_CALLER, ATTR_CALLER_KIND, ATTR_PROFILE, METRICS, SPAN_CALL, SPAN_REFRESH } from '../../otel/semconv.ts'
import { activeContext, runInContext } from '../../src/telemetry/active-context.ts'
import { startEmbeddedTelemetry } from '../../src/telemetry/embedded-telemetry.ts'
import { joinProcess } from '../../src/telemetry/gatewatches.ts'
import { unseenApi } from '../../src/telemetry/host-tracer.ts'
import type { OpenEvent } from '../../src/telemetry/open-event.ts'
import { activeSpanContext, contextOf, Telemetry } from '../../src/telemetry/telemetry.ts'
import { afterwards } from '../support/clean-up.ts'
import { KeptSpans } from '../support/kept-spans.ts'
import { inEvent, openEvent } from '../support/open-events.ts'

const SECRET = 'sk-ant-api03-EmbeddedTelemetry9876543210zyxwvutsrq'

afterEach(() => {
  for (const api of [trace, metrics, context, propagation]) api.disable()
})

/** The OpenTelemetry of a host, registered; metrics only when they are asked for. */
function host({ sampler, processors = [] }: { sampler?: Sampler; processors?: SpanProcessor[] } = {}) {
  const exporter = new InMemorySpanExporter()
  const spanProcessors = [new SimpleSpanProcessor({ exporter }), ...processors]
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors, ...(sampler && { sampler }) }))
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  return { spans: () => exporter.getFinishedSpans() }
}

/** A reader of metrics, registered. @returns Sums by the names of the metrics. */
function hostMetrics() {
  const producer = { collect: async () => ({ resourceMetrics: { resource: { attributes: {} }, scopeMetrics: [] }, errors: [] }) }
  const reader = new PullMetricReader(producer as never)
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
  return async () => {
    const { resourceMetrics } = await reader.collect()
    return Object.fromEntries(
      resourceMetrics.scopeMetrics.flatMap(scope =>
        scope.metrics.map(({ descriptor, dataPoints }) => [
          descriptor.name,
          dataPoints.reduce((sum, { value }) => sum + (typeof value === 'number' ? value : value.count), 0),
        ]),
      ),
    )
  }
}

/** Gatewatch's telemetry as a guest, joined to the Gatewatches of the process. */
function guest() {
  const recorder = new KeptSpans()
  const embedded = startEmbeddedTelemetry({ eventSink: () => recorder, environment: {} })
  const leads: number[] = []
  const membership = joinProcess({
    points: embedded.points,
    lead: () => {
      leads.push(1)
      embedded.meter.rebind()
    },
    watch: () => undefined,
  })
  embedded.meter.join(membership)
  const leave = async () => {
    membership.leave()
    await embedded.shutdown()
  }
  afterwards(leave)
  return { recorder, embedded, membership, leads, leave, telemetry: new Telemetry(embedded.source) }
}

const LABELS = { provider: 'acme', profile: 'p', reason: 'forced', decision: 'lead', caller: 'a.ts#f' } as const

describe('telemetry in an application', () => {
  it('registers nothing', () => {
    const before = Object.keys(registered())
    const { telemetry } = guest()
    openEvent(telemetry, 'call').end()
    expect(Object.keys(registered())).toEqual(before)
  })

  it('redacts what it sets, and leaves what the application sets unchanged', async () => {
    const { spans } = host()
    const { telemetry } = guest()
    const work = async (event: OpenEvent) => {
      trace.getActiveSpan()?.setAttribute('app.note', 'unchanged').setStatus({ code: SpanStatusCode.ERROR, message: 'their words' })
      event.set({ isError: true, ...{ notOurs: SECRET } })
    }
    await inEvent(telemetry, 'call', work, { profile: `profile ${SECRET}` })
    const [span] = spans()
    expect(JSON.stringify(span?.attributes)).not.toContain(SECRET)
    // A text that begins like a key which another test of this process has registered is a secret.
    const redacted = expect.stringMatching(/^profile \[(?:token|secret)\]$/)
    expect(span?.attributes).toMatchObject({ 'app.note': 'unchanged', [ATTR_PROFILE]: redacted })
    expect(span?.status).toEqual({ code: SpanStatusCode.ERROR, message: 'their words' })
  })

  it('has parents in the trace of the application, across its own spans and ours', async () => {
    const { spans } = host()
    const { telemetry } = guest()
    await trace.getTracer('app').startActiveSpan('app', async outer => {
      await inEvent(telemetry, 'call', async () => {
        await trace.getTracer('app').startActiveSpan('inner', async inner => {
          openEvent(telemetry, 'token_request').end()
          inner.end()
        })
      })
      outer.end()
    })
    const ids = new Map(spans().map(span => [span.spanContext().spanId, span.name]))
    const parents = spans().map(({ name, parentSpanContext }) => [name, ids.get(parentSpanContext?.spanId ?? '')])
    expect(Object.fromEntries(parents)).toEqual({ [SPAN_REFRESH]: 'inner', inner: SPAN_CALL, [SPAN_CALL]: 'app', app: undefined })
    expect(new Set(spans().map(span => span.spanContext().traceId)).size).toBe(1)
  })

  it('keeps its own record whatever the application samples', () => {
    const { spans } = host({ sampler: new AlwaysOffSampler() })
    const { telemetry, recorder } = guest()
    openEvent(telemetry, 'token_request').end()
    expect(spans()).toEqual([])
    expect(recorder.named(SPAN_REFRESH)).toHaveLength(1)
  })

  it('puts what a SERVER span of the application lacks onto that one', () => {
    const { spans } = host()
    const { telemetry } = guest()
    const server = trace.getTracer('app').startSpan('GET', { kind: SpanKind.SERVER, attributes: { 'http.request.method': 'GET' } })
    const event = openEvent(telemetry, 'inbound', { httpMethod: 'POST', httpRoute: '/a/:id' }, { onto: server })
    runInContext(contextOf(event.span), () => openEvent(telemetry, 'call').end())
    event.end()
    expect(server.isRecording()).toBe(true)
    server.end()
    expect(spans().map(({ name, attributes }) => [name, attributes])).toEqual([
      [SPAN_CALL, { [ATTR_CALLER]: 'unknown', [ATTR_CALLER_KIND]: 'unknown' }],
      ['GET', { 'http.request.method': 'GET', 'http.route': '/a/:id' }],
    ])
  })

  it('is no fault of the application where its processor throws', () => {
    const fault = () => {
      throw new Error('of a processor')
    }
    host({ processors: [{ onStart: fault, onEnd: fault, forceFlush: async () => undefined, shutdown: async () => undefined }] })
    const { telemetry, recorder } = guest()
    expect(() => {
      const refresh = openEvent(telemetry, 'token_request')
      refresh.step('published')
      refresh.end()
    }).not.toThrow()
    expect(recorder.named(SPAN_REFRESH)).toHaveLength(1)
  })
})

describe('metrics in an application', () => {
  it('are in its reader, also of one that is registered later', async () => {
    const { telemetry, embedded } = guest()
    telemetry.instruments.add('acquisitions', LABELS, 2)
    const collect = hostMetrics()
    telemetry.instruments.record('acquisitionWait', 1, LABELS)
    telemetry.instruments.add('acquisitions', LABELS)
    expect(await collect()).toEqual({ [METRICS.acquisitions.name]: 3, [METRICS.acquisitionWait.name]: 1 })
    await embedded.shutdown()
    expect((await collect())[METRICS.acquisitions.name] ?? 3).toBe(3)
  })

  it('of two Gatewatches are one sum, shown by the first, and by the second once the first has stopped', async () => {
    const collect = hostMetrics()
    const [first, second] = [guest(), guest()]
    expect([first.membership.isPrimary, second.membership.isPrimary]).toEqual([true, false])
    first.telemetry.instruments.add('acquisitions', LABELS)
    second.telemetry.instruments.add('acquisitions', LABELS, 4)
    expect((await collect())[METRICS.acquisitions.name]).toBe(5)
    await first.leave()
    expect(second.leads).toEqual([1])
    second.telemetry.instruments.add('acquisitions', LABELS)
    expect((await collect())[METRICS.acquisitions.name]).toBe(5)
  })
})

describe('contexts', () => {
  it('are kept across awaits where no context manager is registered, and the application sees none of them', async () => {
    const { telemetry } = guest()
    await inEvent(telemetry, 'call', async ({ span }) => {
      await new Promise(resolve => setImmediate(resolve))
      expect(activeSpanContext()).toEqual(span.spanContext())
      expect(context.active()).toBe(ROOT_CONTEXT)
    })
  })

  it('are those of the application where it has a manager, the root context included', () => {
    host()
    const key = Symbol('key')
    context.with(ROOT_CONTEXT.setValue(key, 1), () => {
      expect(activeContext().getValue(key)).toBe(1)
      context.with(ROOT_CONTEXT, () => expect(activeContext().getValue(key)).toBeUndefined())
    })
  })
})

describe('a copy of the API of a higher minor version than the one of the application', () => {
  it('is reported: it sees nothing of what the application registered', () => {
    expect(unseenApi()).toBeUndefined()
    host()
    expect(unseenApi()).toBeUndefined()
    const key = Symbol.for('opentelemetry.js.api.1')
    const globals = globalThis as Record<symbol, unknown>
    const known = globals[key]
    globals[key] = { version: '1.0.4', trace: {} }
    expect(unseenApi()).toBe('1.0.4')
    globals[key] = known
  })
})

/** What is registered with the API. */
function registered(): object {
  return (globalThis as Record<symbol, object | undefined>)[Symbol.for('opentelemetry.js.api.1')] ?? {}
}
