import { prometheusLabel, prometheusName } from '../otel/prometheus-name.ts'
import { LABEL_CALLER, LABEL_PROFILE, LABEL_PROVIDER, METRICS, type MetricDefinition, type MetricKey } from '../otel/semconv.ts'

type KeyOf<Kind extends MetricDefinition['kind']> = { [K in MetricKey]: (typeof METRICS)[K]['kind'] extends Kind ? K : never }[MetricKey]
type HistogramMetricKey = KeyOf<'histogram'>
type LabelOf<K extends MetricKey> = (typeof METRICS)[K]['labels'][number]

/** What stands behind a label in a selector, operator included: `="bypass"`, `=~"$provider"`. */
type Matcher = string & { readonly matcher?: never }
export type Matchers<K extends MetricKey> = { readonly [L in LabelOf<K>]?: Matcher }

/** Grafana's macro for the range of a rate: at least four scrapes. */
export const RATE = '$__rate_interval'
/** Grafana's macro for the whole time range of the board. */
export const WHOLE_RANGE = '$__range'

export const is = <Word extends string>(word: Word): Matcher => `="${word}"`
export const isNot = <Word extends string>(word: Word): Matcher => `!="${word}"`
export const oneOf = <Word extends string>(...words: readonly Word[]): Matcher => `=~"${words.join('|')}"`
export const noneOf = <Word extends string>(...words: readonly Word[]): Matcher => `!~"${words.join('|')}"`
/** The label is there: a failure has an `error.type`, a success has none. */
export const isPresent: Matcher = isNot('')
export const isAbsent: Matcher = is('')
/** The value chosen in the variable of that name. */
export const chosen = (variable: string): Matcher => `=~"$${variable}"`
/** The same, and what has no such label: it can belong to what was chosen. */
export const chosenOrAbsent = (variable: string): Matcher => `=~"$${variable}|"`

/** Variables that every board has, and the labels they choose. */
const CHOSEN_EVERYWHERE: readonly string[] = [LABEL_PROVIDER, LABEL_PROFILE, LABEL_CALLER]

/**
 * A selector of one metric of `otel/semconv.ts`; a name or label that is not there does not compile.
 *
 * @returns `gatewatch_gate_acquisitions_total{decision="lead"}`; a histogram needs `observations` or `bucketsOf` instead.
 */
export function series<K extends MetricKey>(key: K, matchers: Matchers<K> = {}): string {
  return selector(prometheusName(METRICS[key]), matchers)
}

/** How often a histogram was recorded, as a counter. */
export function observations<K extends HistogramMetricKey>(key: K, matchers: Matchers<K> = {}): string {
  return selector(`${prometheusName(METRICS[key])}_count`, matchers)
}

/** The sum of what a histogram recorded, as a counter. */
export function sumOf<K extends HistogramMetricKey>(key: K, matchers: Matchers<K> = {}): string {
  return selector(`${prometheusName(METRICS[key])}_sum`, matchers)
}

/** The buckets of a histogram. @param upTo Only the bucket up to this bound; OTLP writes `60`, OpenMetrics `60.0`. */
export function bucketsOf<K extends HistogramMetricKey>(key: K, matchers: Matchers<K> = {}, upTo?: number): string {
  const bound = upTo === undefined ? {} : { le: `=~"${upTo}([.]0)?"` }
  return selector(`${prometheusName(METRICS[key])}_bucket`, { ...matchers, ...bound })
}

/** `matchers`, and what is chosen in the board's variables for the labels the metric has. */
export function selected<K extends MetricKey>(key: K, matchers: Matchers<K> = {}): Matchers<K> {
  const labels: readonly string[] = METRICS[key].labels
  const chosenHere = Object.fromEntries(CHOSEN_EVERYWHERE.filter(label => labels.includes(label)).map(label => [label, chosen(label)]))
  return { ...chosenHere, ...matchers } as Matchers<K>
}

/**
 * By how much a counter grew, a series that was born within the window included.
 *
 * `increase()` alone misses the first event of every kind: the series appears with its first value, and from then on
 * nothing grows. A bypass that happens once would never be seen. A series that was not there a window ago counts whole;
 * unless its gateway could not be scraped then: after an outage of the scrape nothing was born, whatever is counted.
 */
export function grown(counter: string, window: string): string {
  const notScraped = `on (job, instance) up offset ${window} == 0`
  return `((${counter} unless ${counter} offset ${window} unless ${notScraped}) or increase(${counter}[${window}]))`
}

/** Targets that have had a Gatewatch within a day, by `up`: whatever their job is called. */
export function knownTargets(): string {
  return `up and on (job, instance) last_over_time(${series('info')}[1d])`
}

/** `sum by (...)`; without labels, one number. */
export function sumBy(labels: readonly string[], expression: string): string {
  return aggregate('sum', labels, expression)
}

export function maxBy(labels: readonly string[], expression: string): string {
  return aggregate('max', labels, expression)
}

/** `part / whole`, 0 where there is no part, nothing where there is no whole. Both must have the same labels. */
export function share(part: string, whole: string): string {
  return `(${part} or ${whole} * 0) / (${whole} > 0)`
}

/** A quantile of a histogram over `RATE`. */
export function quantile<K extends HistogramMetricKey>(
  q: number,
  key: K,
  labels: readonly LabelOf<K>[],
  matchers: Matchers<K> = selected(key),
  window: string = RATE,
): string {
  return `histogram_quantile(${q}, ${sumBy([...labels, 'le'], `rate(${bucketsOf(key, matchers)}[${window}])`)})`
}

/** Puts a text made of labels' values into a new label: `relabel(x, 'id', 'via:$1', 'via')`. */
export function relabel(expression: string, label: string, text: string, from: string): string {
  return `label_replace(${expression}, "${label}", "${text}", "${prometheusLabel(from)}", "(.*)")`
}

/** The legend `{{caller}} · {{reason}}`. */
export function legendOf(...labels: readonly string[]): string {
  return labels.map(label => `{{${prometheusLabel(label)}}}`).join(' · ')
}

function selector(name: string, matchers: Readonly<Record<string, Matcher | undefined>>): string {
  const parts = Object.entries(matchers).map(([label, matcher]) => `${prometheusLabel(label)}${matcher}`)
  return parts.length === 0 ? name : `${name}{${parts.join(', ')}}`
}

function aggregate(operator: string, labels: readonly string[], expression: string): string {
  const by = labels.length === 0 ? '' : ` by (${labels.map(prometheusLabel).join(', ')})`
  return `${operator}${by} (${expression})`
}
