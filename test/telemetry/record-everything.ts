import { LABELS, METRICS, type MetricDefinition, type MetricKey } from '../../otel/semconv.ts'
import type { CounterKey, GaugeKey, HistogramKey, Instruments } from '../../src/telemetry/instruments.ts'

/** Records two series into every metric of `otel/semconv.ts`, every label set. */
export function recordEverything(instruments: Instruments): void {
  for (const [key, metric] of Object.entries(METRICS) as [MetricKey, MetricDefinition][]) {
    for (const turn of [0, 1]) {
      const labels = Object.fromEntries(
        metric.labels.map(label => [label, LABELS[label]?.values?.[turn] ?? `${label.replaceAll('.', '-')}-${turn}`]),
      )
      if (metric.kind === 'counter') instruments.add(key as CounterKey, labels, turn + 1)
      else if (metric.kind === 'gauge') instruments.set(key as GaugeKey, turn + 0.5, labels)
      else instruments.record(key as HistogramKey, turn + 0.25, labels)
    }
  }
}
