import type { Context, SpanKind } from '@opentelemetry/api'
import { ParentBasedSampler, type Sampler, SamplingDecision, type SamplingResult, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace'
import type { LightTracerOptions } from '../src/telemetry/light-tracer.ts'
import { type Environment, textOf } from './environment.ts'
import { samplerOf } from './sampler.ts'

/** Ordinary traces that are sampled in each second whatever the load, and the share of those beyond. */
const SAMPLED = { eachSecond: 10, ratio: 0.01 } as const
/** Ordinary traces that are recorded in each second besides: enough to look at, few enough to cost nothing. */
const RECORDED_EACH_SECOND = 50

export type TraceKeeping = Pick<LightTracerOptions, 'choose' | 'keepsEventful'>

/**
 * Which traces are kept.
 *
 * With no `OTEL_TRACES_SAMPLER`: what the trace's beginner decided, where somebody else has begun it; else ten ordinary
 * traces each second and a hundredth of those beyond; and every trace in which something happened. A ratio in
 * `OTEL_TRACES_SAMPLER` takes the place of the first two. With `always_on`, `always_off` and their parent-based kin it is
 * exactly as they say.
 */
export function traceKeepingOf(environment: Environment): TraceKeeping {
  const asked = textOf(environment, 'OTEL_TRACES_SAMPLER')?.toLowerCase()
  const sampler = asked === undefined ? new ParentBasedSampler({ root: new ReservoirSampler() }) : samplerOf(environment)
  const recorded = new EachSecond(RECORDED_EACH_SECOND)
  return {
    keepsEventful: asked === undefined || asked.endsWith('traceidratio'),
    choose: (context: Context, traceId: string, name: string, kind: SpanKind) => {
      const isSampled = sampler.shouldSample(context, traceId, name, kind, {}, []).decision === SamplingDecision.RECORD_AND_SAMPLED
      return { isSampled, isRecorded: isSampled || recorded.hasRoom() }
    },
  }
}

/** Samples so many in each second, and a share of what comes beyond. */
class ReservoirSampler implements Sampler {
  readonly #first = new EachSecond(SAMPLED.eachSecond)
  readonly #beyond = new TraceIdRatioBasedSampler(SAMPLED.ratio)

  shouldSample(context: Context, traceId: string): SamplingResult {
    return this.#first.hasRoom() ? { decision: SamplingDecision.RECORD_AND_SAMPLED } : this.#beyond.shouldSample(context, traceId)
  }

  toString(): string {
    return `Reservoir{${SAMPLED.eachSecond} each second, ${SAMPLED.ratio} beyond}`
  }
}

/** Lets so many through in each second. */
class EachSecond {
  readonly #most: number
  #second = 0
  #count = 0

  constructor(most: number) {
    this.#most = most
  }

  hasRoom(): boolean {
    const second = Math.floor(performance.now() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#count = 0
    }
    this.#count += 1
    return this.#count <= this.#most
  }
}
