import { type MetricProducer, MetricReader } from '@opentelemetry/sdk-metrics'

/** Collects when `/metrics` is asked for, and only then. Cumulative, as Prometheus wants it. */
export class PullMetricReader extends MetricReader {
  /** @param producer What is collected in addition to the metrics of the provider that the reader is given to. */
  constructor(producer: MetricProducer) {
    super({ metricProducers: [producer] })
  }

  protected override async onForceFlush(): Promise<void> {
    // Nothing is held back: what was recorded is there at the next collection.
  }

  protected override async onShutdown(): Promise<void> {
    // Nothing is open.
  }
}
