import { ROOT_CONTEXT, SpanKind, TraceFlags, trace } from '@opentelemetry/api'
import { SamplingDecision } from '@opentelemetry/sdk-trace'
import { describe, expect, it } from 'vitest'
import { samplerOf } from '../../../otel/sdk/sampler.ts'

/** One of the last that a ratio samples. */
const TRACE_ID = 'ffffffff000000000000000000000000'

function decide(environment: Record<string, string>, parentFlags?: TraceFlags): SamplingDecision {
  const parent =
    parentFlags === undefined
      ? ROOT_CONTEXT
      : trace.setSpanContext(ROOT_CONTEXT, { traceId: TRACE_ID, spanId: 'b7ad6b7169203331', traceFlags: parentFlags, isRemote: true })
  return samplerOf(environment).shouldSample(parent, TRACE_ID, 's', SpanKind.INTERNAL, {}, []).decision
}

describe('the sampler', () => {
  it.each([
    ['everything is sampled without a word', {}, undefined, true],
    ["a parent's decision is followed", {}, TraceFlags.NONE, false],
    ['always_on does not ask the parent', { OTEL_TRACES_SAMPLER: 'always_on' }, TraceFlags.NONE, true],
    ['always_off', { OTEL_TRACES_SAMPLER: 'always_off' }, undefined, false],
    ['parentbased_always_off', { OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, undefined, false],
    ['parentbased_always_off with a sampled parent', { OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, TraceFlags.SAMPLED, true],
    ['a ratio', { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.1' }, undefined, false],
    ['a ratio under a parent', { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' }, undefined, false],
    ['a ratio that is none counts as 1', { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: 'half' }, undefined, true],
    ['an unknown sampler is replaced by the default', { OTEL_TRACES_SAMPLER: 'jaeger_remote' }, undefined, true],
  ])('%s', (_, environment, parentFlags, isSampled) => {
    expect(decide(environment, parentFlags)).toBe(isSampled ? SamplingDecision.RECORD_AND_SAMPLED : SamplingDecision.RECORD)
  })
})
