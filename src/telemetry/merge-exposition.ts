import { SCOPE } from '../../otel/semconv.ts'
import type { MetricsFormat } from './open-metrics.ts'

/** A family of series in the text of an answer. */
interface WrittenFamily {
  readonly name: string
  type: string | undefined
  readonly metadata: string[]
  /** Lines of each label set. */
  readonly points: Map<string, string[]>
}

const METADATA = /^# (?:HELP|TYPE|UNIT) (\S+)(?: (.*))?$/
const SAMPLE_NAME = /^[^{\s]*/
const SAMPLE_LABELS = /^[^{\s]*\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\}/
const LABEL = /([^\s,="]+)="((?:[^"\\]|\\.)*)"/g
/** What follows the name of a family in its samples. */
const SUFFIX = /^(?:_bucket|_sum|_count|_total|_created|_info|_gsum|_gcount)?$/
const LAST_LINE = /(?:^|\n)# EOF\s*$/
/** Labels that are no part of what a series measures: bounds of a histogram and a summary. */
const BOUNDS: ReadonlySet<string> = new Set(['le', 'quantile'])
/** Series of ours that an exporter of OpenTelemetry has written. */
const OUR_SCOPE = `otel_scope_name="${SCOPE}"`
/** The resource of the process: `target_info` in both formats. */
const TARGET = /^target(?:_info)?$/

/** The format in which metrics are written: OpenMetrics ends with a mark. */
export function formatOf(text: string): MetricsFormat {
  return LAST_LINE.test(text) ? 'openmetrics' : 'prometheus'
}

/**
 * Writes our metrics and those of another registry as one answer to a scrape: no family and no series twice, and one end.
 *
 * What the other one has stays: its families come first, and its `target_info` is the one of the process. A family that both
 * have is written once with the series of both; where its types differ, with its own alone. Our series that an exporter of
 * OpenTelemetry has written too are left to us: that of JavaScript leaves the unit out of a name, so that no board finds it.
 *
 * @param ours As `writeMetrics` returns it, in the format of `others`.
 */
export function mergeExposition(ours: string, others: string): string {
  const own = familiesOf(ours)
  let text = ''
  for (const family of familiesOf(others).values()) {
    if (isOurs(family)) continue
    const same = own.get(family.name)
    if (same) join(family, same)
    own.delete(family.name)
    text += textOf(family)
  }
  for (const family of own.values()) text += textOf(family)
  return formatOf(others) === 'openmetrics' ? `${text}# EOF\n` : text
}

/** Whether a family of the other registry holds nothing but our series; of one that holds more, ours are removed. */
function isOurs({ name, points }: WrittenFamily): boolean {
  if (name.startsWith(`${SCOPE}_`)) return true
  const all = points.size
  for (const labels of points.keys()) if (labels.includes(OUR_SCOPE)) points.delete(labels)
  return all > 0 && points.size === 0
}

function join(family: WrittenFamily, same: WrittenFamily): void {
  if (family.type !== same.type || TARGET.test(family.name)) return
  for (const [labels, lines] of same.points) if (!family.points.has(labels)) family.points.set(labels, lines)
}

function familiesOf(text: string): Map<string, WrittenFamily> {
  const families = new Map<string, WrittenFamily>()
  let current: WrittenFamily | undefined
  for (const raw of text.split('\n')) {
    const line = raw.trimEnd()
    if (line === '') continue
    const [, named, type] = METADATA.exec(line) ?? []
    if (named !== undefined) {
      current = familyIn(families, named)
      current.metadata.push(line)
      if (line.startsWith('# TYPE')) current.type = type
    } else if (!line.startsWith('#')) {
      current = familyOfSample(families, line, current)
      addPoint(current, line)
    }
  }
  return families
}

function familyIn(families: Map<string, WrittenFamily>, name: string): WrittenFamily {
  const family = families.get(name) ?? { name, type: undefined, metadata: [], points: new Map() }
  families.set(name, family)
  return family
}

/** @param above The family that the lines above belong to: its samples have more behind its name. */
function familyOfSample(families: Map<string, WrittenFamily>, line: string, above: WrittenFamily | undefined): WrittenFamily {
  const [sample] = SAMPLE_NAME.exec(line) ?? ['']
  const isBelow = above !== undefined && sample.startsWith(above.name) && SUFFIX.test(sample.slice(above.name.length))
  return isBelow ? above : familyIn(families, sample)
}

function addPoint({ points }: WrittenFamily, line: string): void {
  const labels = labelsOfLine(line)
  const lines = points.get(labels)
  if (lines) lines.push(line)
  else points.set(labels, [line])
}

/** The labels of a sample, in one order. */
function labelsOfLine(line: string): string {
  const written = SAMPLE_LABELS.exec(line)?.[1] ?? ''
  return Array.from(written.matchAll(LABEL), ([label, name]) => ({ label, name: name ?? '' }))
    .filter(({ name }) => !BOUNDS.has(name))
    .map(({ label }) => label)
    .sort()
    .join(',')
}

function textOf({ metadata, points }: WrittenFamily): string {
  return `${[...metadata, ...[...points.values()].flat()].join('\n')}\n`
}
