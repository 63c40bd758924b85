import { TraceFlags } from '@opentelemetry/api'
import { SamplingDecision } from '@opentelemetry/sdk-trace'
import type { LightTracerOptions, TraceBeginning } from '../../src/telemetry/light-tracer.ts'
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
  const isSampled = asked === undefined ? plainSampling() : samplingOf(environment)
  const recorded = new EachSecond(RECORDED_EACH_SECOND)
  return {
    keepsEventful: asked === undefined || asked.endsWith('traceidratio'),
    choose: beginning => {
      const sampled = isSampled(beginning)
      return { isSampled: sampled, isRecorded: sampled || recorded.hasRoom(beginning.at) }
    },
  }
}

type Sampling = (beginning: TraceBeginning) => boolean

function plainSampling(): Sampling {
  const first = new EachSecond(SAMPLED.eachSecond)
  return ({ from, at }) => {
    if (from) return (from.traceFlags & TraceFlags.SAMPLED) !== 0
    return first.hasRoom(at) || Math.random() < SAMPLED.ratio
  }
}

function samplingOf(environment: Environment): Sampling {
  const sampler = samplerOf(environment)
  return ({ context, tree, name, kind }) =>
    sampler.shouldSample(context, tree.traceId, name, kind, {}, []).decision === SamplingDecision.RECORD_AND_SAMPLED
}

/** Lets so many through in each second, all that come at once to begin with, then evenly: those kept stand for the others. */
class EachSecond {
  readonly #most: number
  #room: number
  #at = 0

  constructor(most: number) {
    this.#most = most
    this.#room = most
  }

  /** @param now Moment of the monotonic clock, in ms. */
  hasRoom(now: number): boolean {
    this.#room = Math.min(this.#most, this.#room + ((now - this.#at) / 1000) * this.#most)
    this.#at = now
    if (this.#room < 1) return false
    this.#room -= 1
    return true
  }
}
