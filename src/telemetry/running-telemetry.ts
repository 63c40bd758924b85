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
