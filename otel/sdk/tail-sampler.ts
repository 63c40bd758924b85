import { SamplingDecision } from '@opentelemetry/sdk-trace'
import { type Environment, variableText } from '../../src/telemetry/environment.ts'
import { type Sampling, type TraceKeeping, traceKeeping } from '../../src/telemetry/tail-sampler.ts'
import { samplerOf } from './sampler.ts'

/**
 * Which traces are kept.
 *
 * With no `OTEL_TRACES_SAMPLER`: what the trace's beginner decided, where another caller has begun it; else ten ordinary
 * traces each second and a hundredth of those beyond; and every trace in which something happened. A ratio in
 * `OTEL_TRACES_SAMPLER` takes the place of the first two. With `always_on`, `always_off` and their parent-based kin it is
 * exactly as they say.
 */
export function traceKeepingOf(environment: Environment): TraceKeeping {
  const asked = variableText(environment, 'OTEL_TRACES_SAMPLER')?.toLowerCase()
  return asked === undefined ? traceKeeping() : traceKeeping(samplingOf(environment), asked.endsWith('traceidratio'))
}

function samplingOf(environment: Environment): Sampling {
  const sampler = samplerOf(environment)
  return ({ context, tree, name, kind }) =>
    sampler.shouldSample(context, tree.traceId, name, kind, {}, []).decision === SamplingDecision.RECORD_AND_SAMPLED
}
