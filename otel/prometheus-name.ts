import type { MetricDefinition } from './semconv.ts'

/** Words that OTLP ingestion puts behind a name for a unit (UCUM); a unit that is not here stands for itself. */
const UNIT_WORDS: Readonly<Record<string, string>> = {
  d: 'days',
  h: 'hours',
  min: 'minutes',
  s: 'seconds',
  ms: 'milliseconds',
  us: 'microseconds',
  ns: 'nanoseconds',
  By: 'bytes',
  KiBy: 'kibibytes',
  MiBy: 'mebibytes',
  GiBy: 'gibibytes',
  kBy: 'kilobytes',
  MBy: 'megabytes',
  GBy: 'gigabytes',
  Cel: 'celsius',
  Hz: 'hertz',
  V: 'volts',
  '%': 'percent',
}
const PER_WORDS: Readonly<Record<string, string>> = { s: 'second', min: 'minute', h: 'hour', d: 'day' }

/** What decides the name of a metric in Prometheus. */
type NamedMetric = Pick<MetricDefinition, 'name' | 'kind' | 'unit'>

/** A metric's names as Prometheus sees them. */
export interface PrometheusNames {
  /** The family in OpenMetrics: with its unit, without `_total`. */
  readonly family: string
  /** The unit as it ends the family, `seconds`; empty for counts of things. */
  readonly unit: string
}

/**
 * The name under which Prometheus knows a metric: exactly what an OpenTelemetry collector or Prometheus' own OTLP
 * ingestion makes of it, so that dashboards and alerts hold for both ways.
 *
 * Dots become underscores, the unit is spelled out at the end unless it is there, counters end in `_total`, `{things}`
 * add nothing. A histogram's series add `_bucket`, `_sum` and `_count` to it.
 */
export function prometheusName(metric: NamedMetric): string {
  const { family } = prometheusNames(metric)
  return metric.kind === 'counter' ? `${family}_total` : family
}

/** The parts of `prometheusName`, for the process that writes an exposition. */
export function prometheusNames({ name, kind, unit }: NamedMetric): PrometheusNames {
  let words = name.split(/[^A-Za-z0-9:]+/).filter(word => word !== '')
  const unitWords = wordsOf(unit)
  for (const word of unitWords) if (!words.includes(word)) words.push(word)
  if (kind === 'counter') words = words.filter(word => word !== 'total')
  if (kind === 'gauge' && unit === '1') words = [...words.filter(word => word !== 'ratio'), 'ratio']
  const family = words.join('_')
  const spelled = unitWords.join('_')
  return { family: /^\d/.test(family) ? `_${family}` : family, unit: spelled !== '' && family.endsWith(`_${spelled}`) ? spelled : '' }
}

/** The name of a label as OTLP ingestion makes it of an attribute's key. */
export function prometheusLabel(key: string): string {
  const label = key.replace(/[^A-Za-z0-9_]/g, '_')
  return /^\d/.test(label) ? `key_${label}` : label
}

/** `By/s` -> bytes, per, second. What stands in braces is a remark and adds nothing. */
function wordsOf(unit: string): string[] {
  const [main = '', per = ''] = unit.replace(/\{[^}]*\}/g, '').split('/', 2)
  const words = main === '' || main === '1' ? [] : [UNIT_WORDS[main] ?? main]
  if (per !== '') words.push('per', PER_WORDS[per] ?? UNIT_WORDS[per] ?? per)
  return words.map(word => word.replace(/[^A-Za-z0-9]/g, '')).filter(word => word !== '')
}
