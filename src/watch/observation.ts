import type { Attributes } from '@opentelemetry/api'
import type { HostSpan } from '../telemetry/host-span.ts'
import type { CounterKey, HistogramKey, LabelsOf } from '../telemetry/instruments.ts'

export interface ObservedEvent {
  readonly name: string
  /** Epoch milliseconds. */
  readonly atMs: number
  readonly attributes?: Attributes
}

/** What is counted along with an observation. */
export type Measure =
  | { readonly kind: 'add'; readonly key: CounterKey; readonly labels: LabelsOf<CounterKey> }
  | { readonly kind: 'record'; readonly key: HistogramKey; readonly value: number; readonly labels: LabelsOf<HistogramKey> }

/** A request that was seen from start to end, on its way to become a span. Holds no secret. */
export interface Observation {
  readonly name: string
  /** A request (CLIENT) or something that just happened (INTERNAL). */
  readonly kind: 'client' | 'internal'
  /** Epoch milliseconds. */
  readonly startMs: number
  readonly durationMs: number
  readonly parent: HostSpan | undefined
  readonly attributes: Attributes
  readonly events: readonly ObservedEvent[]
  readonly isError: boolean
  /** Worth being written at once: a signal may end the process any moment. */
  readonly isUrgent: boolean
  /** Kept by the recorder; else it is for exporters alone. */
  readonly isRecorded: boolean
  /** What is counted along with it; asked only where metrics go somewhere. */
  readonly measures: () => readonly Measure[]
  /** Tells it again when the sources of its stack are known, where more than the caller's place hangs on them. */
  readonly rebuilt?: (() => Observation) | undefined
  /** Resolves when something else is known that `retold` then describes. Never rejects. */
  readonly pending?: Promise<void> | undefined
}

/** Takes observations. Must not throw. */
export interface ObservationSink {
  /** Something is under way that will end in an observation: time to get ready. */
  expect(): void
  /** Every ordinary call is wanted, not a sample of them: somebody counts them, or samples by himself. */
  readonly wantsAll: boolean
  take(observation: Observation): void
}

/** Attributes without those that nothing is known of. */
export function compact(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined && value !== ''))
}
