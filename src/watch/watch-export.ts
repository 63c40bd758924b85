import { isSpanContextValid, ROOT_CONTEXT, TraceFlags, trace } from '@opentelemetry/api'
import { spanProcessorsOf, startMetricExport } from '../../otel/sdk/exporters.ts'
import { resourceOf } from '../../otel/sdk/resource.ts'
import { isSampledBy } from '../../otel/sdk/sampler.ts'
import { SCOPE } from '../../otel/semconv.ts'
import type { ProcessRole } from '../domain/enums.ts'
import type { GatewatchEvent } from '../domain/events.ts'
import type { Environment } from '../telemetry/environment.ts'
import { measureEvent } from '../telemetry/event-metrics.ts'
import type { FinishedSpanProcessor } from '../telemetry/finished-span.ts'
import type { HostSpan } from '../telemetry/host-span.ts'
import { Instruments } from '../telemetry/instruments.ts'
import { MetricStorage } from '../telemetry/metric-storage.ts'
import { finishedSpanOf } from '../telemetry/span-of-event.ts'
import { runGuarded } from '../tools/run-guarded.ts'

/** Events on their way to the exporters of the environment. */
export interface WatchExport {
  /** @param event Redacted. @param parent The host's span that was active. */
  take(event: GatewatchEvent, parent: HostSpan | undefined): void
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
  const processors: readonly FinishedSpanProcessor[] = await spanProcessorsOf(environment, () => undefined)
  const storage = new MetricStorage()
  const meters = await startMetricExport(environment, resource, storage)
  const instruments = new Instruments(storage)
  return {
    take: (event, parent) => {
      const span = finishedSpanOf(
        event,
        { resource, scope: { name: SCOPE } },
        { traceFlags: parent?.traceFlags ?? TraceFlags.SAMPLED, parent },
      )
      const context = parent && isSpanContextValid(parent) ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT
      const own = span.spanContext()
      own.traceFlags = isSampled(context, span) ? own.traceFlags | TraceFlags.SAMPLED : own.traceFlags & ~TraceFlags.SAMPLED
      for (const processor of processors)
        runGuarded(
          () => processor.onEnd(span),
          () => undefined,
        )
      measureEvent(event, instruments, own)
    },
    flush: async () => {
      await Promise.allSettled([...processors, meters].map(part => part.forceFlush()))
    },
  }
}
