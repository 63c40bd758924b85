import { type Labels, METRICS, type MetricKey } from '../../otel/semconv.ts'
import { type Exemplar, HistogramSeries, MetricStorage, mergeGauge, NumberSeries, type Series } from './metric-storage.ts'

/** The series of one metric at one moment, as another process gets them: JSON. */
export interface SeriesSnapshot {
  readonly key: MetricKey
  readonly points: readonly PointSnapshot[]
}

type PointSnapshot = NumberSnapshot | HistogramSnapshot

interface NumberSnapshot {
  readonly labels: Labels
  readonly value: number
}

interface HistogramSnapshot {
  readonly labels: Labels
  readonly counts: readonly number[]
  readonly sum: number
  readonly exemplars: readonly (Exemplar | null | undefined)[]
}

/** Every series of a storage, now. */
export function snapshotOf(storage: MetricStorage): SeriesSnapshot[] {
  return Array.from(storage.metrics(), ({ key, series }) => ({ key, points: Array.from(series, pointOf) }))
}

function pointOf(series: Series): PointSnapshot {
  const { labels } = series
  if (series instanceof NumberSeries) return { labels, value: series.value }
  return { labels, counts: [...series.counts], sum: series.sum, exemplars: [...series.exemplars] }
}

/**
 * The series of several processes as one: counters and histograms are summed, of gauges with the same labels one stands for all
 * (`merge` of the metric), and of exemplars the newest.
 */
export class SeriesSum {
  readonly storage = new MetricStorage()
  readonly #gauges = new Set<Series>()

  /**
   * Adds the series of a process. What this version does not know, a metric or a bucket of another version, is left out.
   *
   * @param isGone Whether the process has ended: its gauges say nothing any more.
   */
  add(snapshots: readonly SeriesSnapshot[], { isGone = false } = {}): void {
    for (const { key, points } of snapshots) {
      if (!Object.hasOwn(METRICS, key) || (isGone && METRICS[key].kind === 'gauge')) continue
      for (const point of points) this.#addPoint(key, point)
    }
  }

  #addPoint(key: MetricKey, point: PointSnapshot): void {
    const series = this.storage.series(key, point.labels)
    if (series instanceof HistogramSeries) {
      if ('counts' in point) addHistogram(series, point)
    } else if ('value' in point) {
      if (METRICS[key].kind === 'counter') series.value += point.value
      else series.value = this.#gauges.has(series) ? mergeGauge(key, series.value, point.value) : point.value
      this.#gauges.add(series)
    }
  }
}

function addHistogram(series: HistogramSeries, { counts, sum, exemplars }: HistogramSnapshot): void {
  if (counts.length !== series.counts.length) return
  for (const [bucket, count] of counts.entries()) {
    series.counts[bucket] = (series.counts[bucket] ?? 0) + count
    series.count += count
    const [newest, exemplar] = [series.exemplars[bucket], exemplars[bucket]]
    if (exemplar && (!newest || exemplar.at > newest.at)) series.exemplars[bucket] = exemplar
  }
  series.sum += sum
}
