import { metrics, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startSdk } from '../../otel/sdk/sdk.ts'
import { SPAN_REFRESH } from '../../otel/semconv.ts'
import type { RunningTelemetry } from '../../src/telemetry/running-telemetry.ts'
import { Telemetry } from '../../src/telemetry/telemetry.ts'
import { KeptSpans } from '../support/kept-spans.ts'
import { openEvent } from '../support/open-events.ts'
import { parseOpenMetrics } from '../support/open-metrics-parser.ts'
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts'

describe('a process of our own', () => {
  const recorder = new KeptSpans()
  let receiver: OtlpReceiver
  let sdk: RunningTelemetry

  beforeAll(async () => {
    receiver = await startOtlpReceiver()
    sdk = await startSdk({
      eventSink: () => recorder,
      standalone: true,
      environment: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_PROPAGATORS: 'tracecontext', OTEL_SPAN_LINK_COUNT_LIMIT: '2' },
    })
  })
  afterAll(async () => {
    await sdk.shutdown()
    await receiver.stop()
  })

  it('registers OpenTelemetry for the whole process, redacted as everything else', async () => {
    const span = trace.getTracer('some library').startSpan('GET /?code=canarycode', { attributes: { 'url.query': 'code=canarycode' } })
    span.addLink({ context: span.spanContext() }).addLink({ context: span.spanContext() }).addLink({ context: span.spanContext() }).end()
    openEvent(new Telemetry(sdk.source), 'token_request').end()
    metrics.getMeter('some library').createCounter('library.calls').add(3)
    await sdk.flush()
    expect(receiver.spans().map(({ name }) => name)).toEqual(['GET /?code=[secret]', SPAN_REFRESH])
    expect(receiver.spans()[0]).toMatchObject({ attributes: {}, links: [{}, {}] })
    expect(receiver.metrics().map(({ name }) => name)).toContain('library.calls')
    expect(recorder.spans.map(({ name }) => name)).toEqual([SPAN_REFRESH])
    const families = parseOpenMetrics((await sdk.metrics('application/openmetrics-text')).body)
    expect(families.find(({ name }) => name === 'library_calls')?.samples).toMatchObject([{ value: 3 }])
  })

  it('names neither command line nor host', async () => {
    const keys = Object.keys(receiver.spans()[0]?.resource ?? {})
    expect(keys.filter(key => /^(?:process\.(?!pid)|host\.|os\.)/.test(key))).toEqual([])
    expect(keys).toContain('service.instance.id')
  })

  it('honours the propagators of the environment', () => {
    const carrier: Record<string, string> = {}
    const spanContext = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 }
    propagation.inject(trace.setSpanContext(ROOT_CONTEXT, spanContext), carrier)
    expect(carrier).toEqual({ traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' })
  })

  it('keeps providers of its own where OpenTelemetry is registered already: nothing goes out unredacted', async () => {
    const second = new KeptSpans()
    const beside = await startSdk({ eventSink: () => second, standalone: true, environment: {} })
    openEvent(new Telemetry(beside.source), 'token_request').end()
    expect(second.named(SPAN_REFRESH)).toHaveLength(1)
    expect(recorder.named(SPAN_REFRESH)).toHaveLength(1)
    await beside.shutdown()
  })
})
