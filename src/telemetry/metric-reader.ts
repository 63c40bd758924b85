import { MetricReader } from '@opentelemetry/sdk-metrics'

/**
 * Series one metric may have before the SDK folds the rest into one. The SDK's own 2,000 are fewer than the label caps
 * allow; readers with different limits would show different series for the same metric.
 */
export const MOST_SERIES_PER_METRIC = 10_000

/** Collects when `/metrics` is asked for, and only then. Cumulative, as Prometheus wants it. */
export class PullMetricReader extends MetricReader {
  constructor() {
    super({ cardinalitySelector: () => MOST_SERIES_PER_METRIC })
  }

  protected override async onForceFlush(): Promise<void> {
    // Nothing is held back: what was recorded is there at the next collection.
  }

  protected override async onShutdown(): Promise<void> {
    // Nothing is open.
  }
}
