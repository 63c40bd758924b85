import { diag } from '@opentelemetry/api'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  createAlwaysRecordSampler,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace'
import { type Environment, textOf } from './environment.ts'

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
 * The recorder sees every span; only sampled ones are exported. An unknown sampler is said aloud and replaced by
 * `parentbased_always_on`.
 */
export function samplerOf(environment: Environment): Sampler {
  const name = textOf(environment, 'OTEL_TRACES_SAMPLER')?.toLowerCase() ?? DEFAULT_SAMPLER
  const make = SAMPLERS[name]
  if (!make) diag.warn(`OTEL_TRACES_SAMPLER=${name} is not one of ${Object.keys(SAMPLERS).join(', ')}; ${DEFAULT_SAMPLER} is used`)
  return createAlwaysRecordSampler((make ?? (() => new ParentBasedSampler({ root: new AlwaysOnSampler() })))(environment))
}

function ratioOf(environment: Environment): number {
  const text = textOf(environment, 'OTEL_TRACES_SAMPLER_ARG')
  const ratio = Number(text ?? 1)
  if (ratio >= 0 && ratio <= 1) return ratio
  diag.warn('OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1; 1 is used')
  return 1
}
