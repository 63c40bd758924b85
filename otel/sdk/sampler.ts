import { type Context, diag } from '@opentelemetry/api'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  createAlwaysRecordSampler,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace'
import { type Environment, variableText } from '../../src/telemetry/environment.ts'
import type { FinishedSpan } from '../../src/telemetry/finished-span.ts'

const DEFAULT_SAMPLER = 'parentbased_always_on'

const SAMPLERS: Readonly<Record<string, (environment: Environment) => Sampler>> = {
  always_on: () => new AlwaysOnSampler(),
  always_off: () => new AlwaysOffSampler(),
  traceidratio: environment => new TraceIdRatioBasedSampler(ratioOf(environment)),
  [DEFAULT_SAMPLER]: () => new ParentBasedSampler({ root: new AlwaysOnSampler() }),
  parentbased_always_off: () => new ParentBasedSampler({ root: new AlwaysOffSampler() }),
  parentbased_traceidratio: environment => new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratioOf(environment)) }),
}

/**
 * The sampler that `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` ask for, recording what it does not sample.
 *
 * The event store sees every span; only sampled ones are exported. An unknown sampler is said aloud and replaced by
 * `parentbased_always_on`.
 */
export function samplerOf(environment: Environment): Sampler {
  const name = variableText(environment, 'OTEL_TRACES_SAMPLER')?.toLowerCase() ?? DEFAULT_SAMPLER
  const make = SAMPLERS[name]
  if (!make) diag.warn(`OTEL_TRACES_SAMPLER=${name} is not one of ${Object.keys(SAMPLERS).join(', ')}; ${DEFAULT_SAMPLER} is used`)
  return createAlwaysRecordSampler((make ?? (() => new ParentBasedSampler({ root: new AlwaysOnSampler() })))(environment))
}

/** Says whether a span is sampled, by the variables that `samplerOf` reads. */
type IsSampled = (parent: Context, span: Pick<FinishedSpan, 'spanContext' | 'name' | 'kind' | 'attributes'>) => boolean

/** The decisions of `samplerOf`, for spans made elsewhere than in the SDK. */
export function isSampledBy(environment: Environment): IsSampled {
  const sampler = samplerOf(environment)
  return (parent, span) => {
    const { traceId } = span.spanContext()
    const { decision } = sampler.shouldSample(parent, traceId, span.name, span.kind, span.attributes, [])
    return decision === SamplingDecision.RECORD_AND_SAMPLED
  }
}

function ratioOf(environment: Environment): number {
  const text = variableText(environment, 'OTEL_TRACES_SAMPLER_ARG')
  const ratio = Number(text ?? 1)
  if (ratio >= 0 && ratio <= 1) return ratio
  diag.warn('OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1; 1 is used')
  return 1
}
