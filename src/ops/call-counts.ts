import { OTHER } from '../../otel/semconv.ts'
import { Durations } from './durations.ts'
import type { AttemptFact, CallFact } from './span-facts.ts'

/** Keys of one bucket before the rest are counted together. */
const MOST_KEYS = 40

/** Attempts of one profile, model and outcome. */
export interface AttemptCount {
  readonly profile: string
  readonly model: string
  readonly outcome: string
  readonly failed: boolean
  count: number
  lastMs: number
  lastTrace: string
  readonly durations: Durations
  readonly firstChunks: Durations
}

/** The attempts of one step of time. */
export class AttemptBucket {
  readonly counts = new Map<string, AttemptCount>()

  add({ profile, model, outcome, failed, endMs, durationMs, firstChunkMs, traceId, weight }: AttemptFact): void {
    const count = countOf(this.counts, { profile, model, outcome, failed })
    count.count += weight
    if (endMs >= count.lastMs) {
      count.lastMs = endMs
      count.lastTrace = traceId
    }
    count.durations.add(durationMs, weight)
    if (firstChunkMs !== undefined) count.firstChunks.add(firstChunkMs, weight)
  }
}

/** The row of a key; past the cap, of the models and profiles that are counted together. */
export function countOf(
  counts: Map<string, AttemptCount>,
  words: Pick<AttemptCount, 'profile' | 'model' | 'outcome' | 'failed'>,
  mostKeys = MOST_KEYS,
): AttemptCount {
  const key = `${words.profile}\0${words.model}\0${words.outcome}`
  const found = counts.get(key)
  if (found) return found
  if (counts.size >= mostKeys && words.model !== OTHER) return countOf(counts, { ...words, profile: OTHER, model: OTHER }, mostKeys)
  const made = { ...words, count: 0, lastMs: 0, lastTrace: '', durations: new Durations(), firstChunks: new Durations() }
  counts.set(key, made)
  return made
}

/** Calls that went one way. */
export interface WayCount extends Pick<CallFact, 'steps' | 'end' | 'billingChanged'> {
  count: number
  lastMs: number
  lastTrace: string
}

/** The calls of one step of time, by the way they went. */
export class WayBucket {
  readonly counts = new Map<string, WayCount>()

  add({ steps, end, billingChanged, atMs, traceId, weight }: CallFact): void {
    const count = wayOf(this.counts, { steps, end, billingChanged })
    count.count += weight
    if (atMs >= count.lastMs) {
      count.lastMs = atMs
      count.lastTrace = traceId
    }
  }
}

/** A third of its own: an attempt that its caller gave up says neither that the profile works nor that it fails. */
export function outcomeClassOf({ failed, outcome }: Pick<AttemptCount, 'failed' | 'outcome'>): 'good' | 'failed' | 'aborted' {
  if (failed) return 'failed'
  return outcome === 'aborted' ? 'aborted' : 'good'
}

export function wayOf(
  counts: Map<string, WayCount>,
  way: Pick<WayCount, 'steps' | 'end' | 'billingChanged'>,
  mostKeys = MOST_KEYS,
): WayCount {
  const key = `${way.steps.map(({ profile, reason }) => `${reason}>${profile}`).join('\0')}\0${way.end}\0${way.billingChanged}`
  const found = counts.get(key)
  if (found) return found
  if (counts.size >= mostKeys && way.steps[0]?.profile !== OTHER)
    return wayOf(counts, { ...way, steps: [{ profile: OTHER, reason: '' }] }, mostKeys)
  const made = { ...way, count: 0, lastMs: 0, lastTrace: '' }
  counts.set(key, made)
  return made
}
