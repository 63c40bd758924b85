import { ROOT_CONTEXT, SpanKind, TraceFlags, trace } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import { traceKeepingOf } from '../../../otel/sdk/tail-sampler.ts'
import { SPAN_CALL, SPAN_REFRESH } from '../../../otel/semconv.ts'
import { randomHex } from '../../../src/tools/random-hex.ts'
import { openEvent } from '../../support/open-events.ts'
import { receive, start } from '../world.ts'

const TRACES = 4_000

/** How many of many traces that begin here are sampled. */
function sampledOf(environment: Record<string, string>, context = ROOT_CONTEXT): number {
  const { choose } = traceKeepingOf(environment)
  const from = trace.getSpanContext(context)
  return Array.from({ length: TRACES }, () =>
    choose({ context, from, tree: { traceId: randomHex(16) }, at: 5, name: SPAN_CALL, kind: SpanKind.INTERNAL }),
  ).filter(({ isSampled }) => isSampled).length
}

function under(traceFlags: TraceFlags) {
  return trace.setSpanContext(ROOT_CONTEXT, { traceId: randomHex(16), spanId: randomHex(8), traceFlags, isRemote: true })
}

describe('of ordinary traces', () => {
  it('the first of a second are sampled, and some of those beyond', () => {
    const sampled = sampledOf({})
    expect(sampled).toBeGreaterThanOrEqual(10)
    expect(sampled).toBeLessThan(TRACES / 20)
  })

  it('those that another caller has begun are what he made of them', () => {
    expect(sampledOf({}, under(TraceFlags.SAMPLED))).toBe(TRACES)
    expect(sampledOf({}, under(TraceFlags.NONE))).toBe(0)
  })

  it.each([
    ['always_on', TRACES],
    ['always_off', 0],
    ['parentbased_always_on', TRACES],
  ])('%s samples %d', (sampler, expected) => {
    expect(sampledOf({ OTEL_TRACES_SAMPLER: sampler })).toBe(expected)
  })

  it('a ratio is kept to', () => {
    const sampled = sampledOf({ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.5' })
    expect(sampled).toBeGreaterThan(TRACES * 0.4)
    expect(sampled).toBeLessThan(TRACES * 0.6)
  })
})

describe('a trace in which something happened', () => {
  it.each([
    [{}, 1],
    [{ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' }, 1],
    [{ OTEL_TRACES_SAMPLER: 'always_off' }, 0],
    [{ OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, 0],
  ])('is exported unless the operator switched exporting off: %j', async (environment, expected) => {
    const receiver = await receive()
    const { sdk, recorder, telemetry } = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...environment })
    openEvent(telemetry, 'token_request').end()
    await sdk.flush()
    expect(receiver.spans()).toHaveLength(expected)
    expect(recorder.named(SPAN_REFRESH)).toHaveLength(1)
  })
})
