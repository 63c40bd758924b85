import type { Attributes } from '@opentelemetry/api'
import { type PrometheusNames, prometheusLabel, prometheusNames } from '../../otel/prometheus-name.ts'
import type { MetricDefinition, MetricKind } from '../../otel/semconv.ts'
import { type Exemplar, HistogramSeries, type MetricStorage } from './metric-storage.ts'

export type MetricsFormat = 'openmetrics' | 'prometheus'

/** A histogram by its buckets; the one behind the last bound has none. */
interface HistogramValue {
  readonly bounds: readonly number[]
  readonly counts: readonly number[]
  readonly count: number
  readonly sum: number | undefined
}

/** A value and the labels it was measured with. */
export interface CollectedPoint {
  readonly labels: Attributes
  readonly value: number | HistogramValue
}

/** A metric at one moment. */
export interface CollectedMetric extends Pick<MetricDefinition, 'name' | 'unit' | 'kind' | 'help'> {
  readonly points: Iterable<CollectedPoint>
}

/** Every metric of `book` that was measured. */
export function collectSeries(storage: MetricStorage): CollectedMetric[] {
  return Array.from(storage.metrics(), ({ metric: { name, unit, kind, help }, series }) => ({
    name,
    unit,
    kind,
    help,
    points: Array.from(series, one => ({ labels: one.labels, value: one instanceof HistogramSeries ? one : one.value })),
  }))
}

/** One family of series, as written. */
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
 *
 * @param resource What the process says about itself.
 * @param book Where the exemplars of the series are.
 */
export function writeMetrics(
  resource: Attributes,
  metrics: Iterable<CollectedMetric>,
  storage: MetricStorage,
  format: MetricsFormat,
): string {
  const families = new Map<string, Family>()
  collectTarget(families, resource)
  for (const metric of metrics) collectMetric(families, metric, storage, format)
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

function collectMetric(families: Map<string, Family>, metric: CollectedMetric, storage: MetricStorage, format: MetricsFormat): void {
  const { name, unit, kind, help } = metric
  const names = prometheusNames({ name, unit, kind })
  const family = families.get(names.family) ?? { ...names, kind, help, lines: [], written: new Set() }
  // Two scopes may share a family, never a family of another kind nor a series: a parser would refuse the whole answer.
  if (family.kind !== kind) return
  families.set(names.family, family)
  const series = kind === 'counter' ? `${names.family}_total` : names.family
  for (const point of metric.points) {
    const labels = labelsOf(point.labels)
    if (family.written.has(labels)) continue
    family.written.add(labels)
    if (typeof point.value === 'number') family.lines.push(`${series}${labels} ${number(point.value)}\n`)
    else {
      const kept = format === 'openmetrics' ? storage.exemplarsOf(point.labels) : []
      family.lines.push(histogramLines(names.family, point.labels, point.value, kept))
    }
  }
}

function histogramLines(
  family: string,
  attributes: Attributes,
  { bounds, counts, sum, count }: HistogramValue,
  exemplars: readonly (Exemplar | undefined)[],
): string {
  let text = ''
  let upTo = 0
  for (let index = 0; index < counts.length; index += 1) {
    upTo += counts[index] ?? 0
    const bound = bounds[index] ?? Number.POSITIVE_INFINITY
    text += `${family}_bucket${labelsOf(attributes, canonicalFloat(bound))} ${upTo}${exemplarOf(exemplars[index])}\n`
  }
  const labels = labelsOf(attributes)
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
