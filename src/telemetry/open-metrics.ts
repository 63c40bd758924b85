import type { Attributes } from '@opentelemetry/api'
import { type DataPoint, DataPointType, type Histogram, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics'
import type { MetricKind } from '../../otel/names.ts'
import { type PrometheusNames, prometheusLabel, prometheusNames } from '../../otel/prometheus-name.ts'
import type { Exemplar, SeriesBook } from './series-book.ts'

export type MetricsFormat = 'openmetrics' | 'prometheus'

/** One family of series, as it is written. */
interface Family extends PrometheusNames {
  readonly kind: MetricKind | 'info'
  readonly help: string
  readonly lines: string[]
  /** Label sets written so far. */
  readonly written: Set<string>
}

/**
 * Writes collected metrics as Prometheus reads them.
 *
 * Names and labels are those of OTLP ingestion (`prometheusName`), without `otel_scope_*`; the resource is the labels of
 * `target_info`. `openmetrics` is OpenMetrics 1.0 with exemplars; `prometheus` is the text format 0.0.4 without.
 * Exponential histograms have no place in either and are left out.
 *
 * @param book Where the exemplars of the series are.
 */
export function writeMetrics(resourceMetrics: ResourceMetrics, book: SeriesBook, format: MetricsFormat): string {
  const families = new Map<string, Family>()
  collectTarget(families, resourceMetrics.resource.attributes)
  for (const { metrics } of resourceMetrics.scopeMetrics) for (const metric of metrics) collectMetric(families, metric, book, format)
  let text = ''
  for (const family of families.values()) text += writeFamily(family, format)
  return format === 'openmetrics' ? `${text}# EOF\n` : text
}

function collectTarget(families: Map<string, Family>, attributes: Attributes): void {
  const lines = [`target_info${labelsOf(attributes)} 1\n`]
  families.set('target', {
    family: 'target',
    unit: '',
    kind: 'info',
    help: 'What the process says about itself.',
    lines,
    written: new Set(),
  })
}

function collectMetric(families: Map<string, Family>, metric: MetricData, book: SeriesBook, format: MetricsFormat): void {
  const kind = kindOf(metric)
  if (!kind) return
  const { name, unit, description } = metric.descriptor
  const names = prometheusNames({ name, unit, kind })
  const family = families.get(names.family) ?? { ...names, kind, help: description, lines: [], written: new Set() }
  // Two scopes may share a family, never a family of another kind nor a series: a parser would refuse the whole answer.
  if (family.kind !== kind) return
  families.set(names.family, family)
  const series = kind === 'counter' ? `${names.family}_total` : names.family
  for (const point of metric.dataPoints) {
    const labels = labelsOf(point.attributes)
    if (family.written.has(labels)) continue
    family.written.add(labels)
    if (typeof point.value === 'number') family.lines.push(`${series}${labels} ${number(point.value)}\n`)
    else if ('buckets' in point.value) {
      const kept = format === 'openmetrics' ? book.exemplarsOf(point.attributes) : []
      family.lines.push(histogramLines(names.family, point as DataPoint<Histogram>, kept))
    }
  }
}

function kindOf(metric: MetricData): MetricKind | undefined {
  switch (metric.dataPointType) {
    case DataPointType.SUM:
      return metric.isMonotonic ? 'counter' : 'gauge'
    case DataPointType.GAUGE:
      return 'gauge'
    case DataPointType.HISTOGRAM:
      return 'histogram'
    default:
      return undefined
  }
}

function histogramLines(family: string, point: DataPoint<Histogram>, exemplars: readonly (Exemplar | undefined)[]): string {
  const { buckets, sum, count } = point.value
  let text = ''
  let upTo = 0
  for (let index = 0; index < buckets.counts.length; index += 1) {
    upTo += buckets.counts[index] ?? 0
    const bound = buckets.boundaries[index] ?? Number.POSITIVE_INFINITY
    text += `${family}_bucket${labelsOf(point.attributes, canonicalFloat(bound))} ${upTo}${exemplarOf(exemplars[index])}\n`
  }
  const labels = labelsOf(point.attributes)
  const sumLine = sum === undefined ? '' : `${family}_sum${labels} ${number(sum)}\n`
  return `${text}${sumLine}${family}_count${labels} ${count}\n`
}

function exemplarOf(exemplar: Exemplar | undefined): string {
  return exemplar ? ` # {trace_id="${exemplar.traceId}"} ${number(exemplar.value)} ${exemplar.at / 1000}` : ''
}

function writeFamily({ family, unit, kind, help, lines }: Family, format: MetricsFormat): string {
  if (format === 'openmetrics') {
    const unitLine = unit ? `# UNIT ${family} ${unit}\n` : ''
    return `# TYPE ${family} ${kind}\n${unitLine}# HELP ${family} ${escaped(help)}\n${lines.join('')}`
  }
  const name = kind === 'counter' ? `${family}_total` : kind === 'info' ? `${family}_info` : family
  const helpText = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return `# HELP ${name} ${helpText}\n# TYPE ${name} ${kind === 'info' ? 'gauge' : kind}\n${lines.join('')}`
}

/** `{a="1",b="2"}`, sorted by name. Keys that become the same label are joined, as OTLP ingestion joins them. */
function labelsOf(attributes: Attributes, bound?: string): string {
  const labels = new Map<string, string>()
  for (const key of Object.keys(attributes).sort()) {
    const value = attributes[key]
    if (value === undefined) continue
    const label = prometheusLabel(key)
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
    const before = labels.get(label)
    labels.set(label, before === undefined ? text : `${before};${text}`)
  }
  if (bound !== undefined) labels.set('le', bound)
  if (labels.size === 0) return ''
  return `{${Array.from(labels, ([label, value]) => `${label}="${escaped(value)}"`).join(',')}}`
}

/** Both formats take control characters as they are, and a terminal obeys them; a label of the resource may hold any. */
const CONTROLS = /(?!\n)\p{Cc}/gu

function escaped(text: string): string {
  return text.replace(CONTROLS, '\ufffd').replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
}

function number(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}

/**
 * A bucket's bound as OpenMetrics wants it and Prometheus 3 rewrites it: `1.0`, `0.005`, `1e+06`. Written so in both
 * formats: the same bound must be the same label, whichever format a server asks for.
 */
function canonicalFloat(bound: number): string {
  if (bound === Number.POSITIVE_INFINITY) return '+Inf'
  const [digits, power] = bound.toExponential().split('e')
  const exponent = Number(power)
  if (exponent >= -4 && exponent < 6) return Number.isInteger(bound) ? `${bound}.0` : String(bound)
  return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
}
