import { TraceFlags } from '@opentelemetry/api'
import type { LightTracerOptions, TraceBeginning } from './light-tracer.ts'

/** Ordinary traces that are sampled in each second whatever the load, and the share of those beyond. */
const SAMPLED = { eachSecond: 10, ratio: 0.01 } as const
/** Ordinary traces that are recorded in each second as well: enough to look at, few enough to cost nothing. */
const RECORDED_EACH_SECOND = 50

export type TraceKeeping = Pick<LightTracerOptions, 'choose' | 'keepsNotable'>

/** Says whether a trace is sampled. */
export type Sampling = (beginning: TraceBeginning) => boolean

/**
 * Which traces are kept: what `isSampled` says, some more for the event store, and every trace in which something happened.
 *
 * @param isSampled What the trace's beginner decided, where another caller has begun it; else ten ordinary traces each second
 *   and a hundredth of those beyond, unless given.
 */
export function traceKeeping(isSampled: Sampling = plainSampling(), keepsNotable = true): TraceKeeping {
  const recorded = new EachSecond(RECORDED_EACH_SECOND)
  return {
    keepsNotable,
    choose: beginning => {
      const sampled = isSampled(beginning)
      return { isSampled: sampled, isRecorded: sampled || recorded.hasRoom(beginning.at) }
    },
  }
}

function plainSampling(): Sampling {
  const first = new EachSecond(SAMPLED.eachSecond)
  return ({ from, at }) => {
    if (from) return (from.traceFlags & TraceFlags.SAMPLED) !== 0
    return first.hasRoom(at) || Math.random() < SAMPLED.ratio
  }
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
