import { LABEL_PLACE } from '../../otel/semconv.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { type Environment, positiveNumberOf } from './environment.ts'
import { Instruments } from './instruments.ts'
import type { MetricStorage } from './metric-storage.ts'
import type { OnDropped } from './redaction-processor.ts'
import type { TelemetrySource } from './telemetry.ts'

/** What `/metrics` answers. */
export interface MetricsAnswer {
  readonly contentType: string
  readonly body: string
}

/** Telemetry of a process: its own, with an SDK, or that of a host it is a guest in. */
export interface RunningTelemetry {
  /** For `new Telemetry(source)`. */
  readonly source: TelemetrySource
  /** What `/metrics` answers. @param accept The request's `Accept` header. @throws {GatewayError} `GW_CLOSED` after shutdown. */
  metrics(accept?: string): Promise<MetricsAnswer>
  /** Sends what is waiting. Never rejects, never waits longer than five seconds. */
  flush(): Promise<void>
  /**
   * Sends what is waiting and stops. Never rejects, never waits longer than three seconds; an exporter that retries at a
   * dead address may keep the process itself alive until `OTEL_EXPORTER_OTLP_TIMEOUT` (ten seconds) has passed.
   */
  shutdown(): Promise<void>
}

/** Counts spans that telemetry could not keep or send. */
export function dropCounter(storage: MetricStorage): OnDropped {
  const instruments = new Instruments(storage)
  return (place, items) => instruments.add('telemetryDropped', { [LABEL_PLACE]: place }, items)
}

/** Longest attribute value that the environment allows, in characters; `undefined` where it says nothing. */
export function longestValueOf(environment: Environment): number | undefined {
  return positiveNumberOf(environment, 'OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT', 'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT')
}

/** The error of a scrape after shutdown. */
export function telemetryClosed(): GatewayError {
  return new GatewayError('GW_CLOSED', 'telemetry has been shut down; nothing is measured any more', { next: 'nothing' })
}
