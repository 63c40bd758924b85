import type { EventBase, GatewatchEvent } from '../domain/events.ts'
import type { HostSpan } from '../telemetry/host-span.ts'
import { randomHex } from '../tools/random-hex.ts'

/** An event of this process, seen from start to end, and what it has to wait for. Holds no secret. */
export interface Observation {
  /** Where `standsFor` is 0 it is for exporters alone, and the event store does not keep it. */
  readonly event: GatewatchEvent
  /** The host's span that was active. */
  readonly parent: HostSpan | undefined
  /** Builds it again when the sources of its stack are known, where more than the caller's place hangs on them. */
  readonly rebuilt?: (() => Observation) | undefined
  /** Resolves when something else is known that `rebuilt` then describes. Never rejects. */
  readonly pending?: Promise<void> | undefined
}

/** Takes observations. Must not throw. */
export interface ObservationSink {
  /** Something is under way that will end in an observation: time to get ready. */
  expect(): void
  /** Every ordinary call is wanted, not a sample of them: they are counted or sampled by the receiver. */
  readonly wantsAll: boolean
  take(observation: Observation): void
}

/** Where an event belongs: a child of the host's span. */
export function placeUnder(
  parent: HostSpan | undefined,
): Pick<EventBase, 'traceId' | 'spanId' | 'parentSpanId' | 'links'> & { readonly standsFor: 1 } {
  return { traceId: parent?.traceId ?? randomHex(16), spanId: randomHex(8), parentSpanId: parent?.spanId, links: [], standsFor: 1 }
}
