import { isSpanContextValid, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import { spanProcessorsOf, startMetricExport } from '../../otel/sdk/exporters.ts'
import { resourceOf } from '../../otel/sdk/resource.ts'
import { type IsSampled, isSampledBy } from '../../otel/sdk/sampler.ts'
import type { ProcessRole } from '../domain/enums.ts'
import type { GatewatchEvent } from '../domain/events.ts'
import type { Environment } from '../telemetry/environment.ts'
import { measureEvent } from '../telemetry/event-metrics.ts'
import type { ProcessResource } from '../telemetry/finished-span.ts'
import { Instruments } from '../telemetry/instruments.ts'
import { MetricStorage } from '../telemetry/metric-storage.ts'
import { RedactingSpanProcessor } from '../telemetry/redaction-processor.ts'
import type { ObservedSpan } from './observed-span.ts'

/** Observations on their way to the exporters of the environment. */
export interface WatchExport {
  take(span: ObservedSpan, event: GatewatchEvent): void
  /** Sends what waits. Never rejects. */
  flush(): Promise<void>
}

/**
 * Starts the exporters that the environment names, for a watched process.
 *
 * Providers of our own that no other caller sees: unlike `startSdk`, this registers nothing at all, not even a context
 * manager, or the host could not register its own afterwards.
 */
export async function startExport(environment: Environment, processRole: ProcessRole): Promise<WatchExport> {
  const resource = resourceOf({ environment, processRole })
  const isSampled = isSampledBy(environment)
  const onDropped = () => undefined
  const processors = await spanProcessorsOf(environment, onDropped)
  const redaction = new RedactingSpanProcessor(
    processors.map(processor => ({ processor, place: 'export' as const })),
    { onDropped },
  )
  const storage = new MetricStorage()
  const meters = await startMetricExport(environment, resource, storage)
  const instruments = new Instruments(storage)
  return {
    take: (span, event) => {
      prepare(span, resource, isSampled)
      redaction.onEnd(span)
      measureEvent(event, instruments, span.spanContext())
    },
    flush: async () => {
      await Promise.allSettled([redaction.forceFlush(), meters.forceFlush()])
    },
  }
}

function prepare(span: ObservedSpan, resource: ProcessResource, isSampled: IsSampled): void {
  const { parentSpanContext: parent } = span
  const context = parent && isSpanContextValid(parent) ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT
  span.resource = resource
  span.sample(isSampled(context, span))
}
