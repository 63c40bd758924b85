/** One series of an exposition with its value. */
export interface ParsedSample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
  readonly exemplar?: { readonly labels: Readonly<Record<string, string>>; readonly value: number; readonly timestamp?: number }
}

export interface ParsedFamily {
  readonly name: string
  readonly type: string
  readonly unit: string
  readonly help: string
  readonly samples: readonly ParsedSample[]
}

interface Draft {
  readonly name: string
  type: string
  unit: string
  help: string
  samples: ParsedSample[]
}

/** What may follow a family's name in its samples, by type. */
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ['_total', '_created'],
  gauge: [''],
  histogram: ['_bucket', '_sum', '_count', '_created'],
  info: ['_info'],
  unknown: [''],
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const NUMBER = String.raw`[+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|Inf)|NaN`
const DESCRIPTOR = new RegExp(`^# (TYPE|UNIT|HELP) (${NAME}) (.*)$`)
const SAMPLE = new RegExp(String.raw`^(${NAME})(\{.*?\})? (${NUMBER})(?: # (\{.*\}) (${NUMBER})(?: (${NUMBER}))?)?$`, 'i')
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/
const CANONICAL_BOUND = /^(?:\+Inf|-?\d+\.\d+|-?\d(?:\.\d+)?e[+-]\d{2,})$/

/**
 * Parses OpenMetrics 1.0 and refuses whatever the standard refuses.
 *
 * @throws {SyntaxError} with the line, on: bad grammar, a missing or early `# EOF`, series without or outside their
 *   family, duplicate series or labels, a unit that does not end its family's name, a negative counter, bucket bounds
 *   that are not canonical or go down, counts that disagree, exemplars where none may stand or over 128 characters.
 */
export function parseOpenMetrics(text: string): ParsedFamily[] {
  if (!text.endsWith('# EOF\n')) throw new SyntaxError('the text does not end in # EOF and a line break')
  const families = new Map<string, Draft>()
  const series = new Set<string>()
  let current: Draft | undefined
  for (const line of text.slice(0, -'# EOF\n'.length).split('\n').slice(0, -1)) {
    const descriptor = DESCRIPTOR.exec(line)
    current = descriptor ? addDescriptor(families, current, descriptor) : addSample(current, line, series)
  }
  for (const family of families.values()) checkFamily(family)
  return [...families.values()]
}

function addDescriptor(
  families: Map<string, Draft>,
  before: Draft | undefined,
  [line, keyword = '', name = '', rest = '']: RegExpExecArray,
): Draft {
  const isNew = before?.name !== name
  if (isNew && families.has(name)) fail('its family was there before', line)
  const family = isNew ? { name, type: 'unknown', unit: '', help: '', samples: [] } : before
  families.set(name, family)
  if (family.samples.length > 0) fail('it stands behind samples of its family', line)
  describe(family, keyword, rest, line)
  return family
}

function describe(family: Draft, keyword: string, rest: string, line: string): void {
  if (keyword === 'TYPE') {
    if (!SUFFIXES[rest]) fail('the type is unknown', line)
    family.type = rest
  } else if (keyword === 'UNIT') {
    if (!family.name.endsWith(`_${rest}`)) fail('the unit does not end the name', line)
    family.unit = rest
  } else family.help = rest
}

function addSample(family: Draft | undefined, line: string, series: Set<string>): Draft {
  const match = SAMPLE.exec(line)
  if (!match) fail('it is neither a descriptor nor a sample', line)
  const [, name = '', labelText, value = '', exemplarLabels, exemplarValue, timestamp] = match as RegExpExecArray
  const suffixes = family ? (SUFFIXES[family.type] ?? []) : []
  if (!family || !suffixes.some(suffix => name === family.name + suffix)) return fail('its family is not the one before it', line)
  const labels = parseLabels(labelText, line)
  const key = `${name}${JSON.stringify(Object.entries(labels).sort())}`
  if (series.has(key)) fail('the series was there before', line)
  series.add(key)
  if (exemplarLabels === undefined) {
    family.samples.push({ name, labels, value: toNumber(value) })
    return family
  }
  if (!name.endsWith('_bucket') && !name.endsWith('_total')) fail('only buckets and counters have exemplars', line)
  const exemplar = parseLabels(exemplarLabels, line)
  if (Object.entries(exemplar).join('').length > 128) fail('the exemplar is too long', line)
  family.samples.push({
    name,
    labels,
    value: toNumber(value),
    exemplar: { labels: exemplar, value: toNumber(exemplarValue ?? ''), ...(timestamp && { timestamp: toNumber(timestamp) }) },
  })
  return family
}

function parseLabels(text: string | undefined, line: string): Record<string, string> {
  const labels: Record<string, string> = {}
  let rest = text === undefined ? '' : text.slice(1, -1)
  while (rest !== '') {
    const [whole = '', name = '', value = ''] = LABEL.exec(rest) ?? fail('its labels cannot be read', line)
    if (name in labels) fail(`label ${name} stands twice`, line)
    labels[name] = value.replace(/\\(["\\n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
    rest = rest.slice(whole.length)
  }
  return labels
}

function checkFamily(family: Draft): void {
  for (const { name, value } of family.samples) {
    if (family.type === 'counter' && !(value >= 0)) fail('a counter is negative', name)
  }
  if (family.type !== 'histogram') return
  const groups = Map.groupBy(family.samples, ({ labels: { le: _, ...labels } }) => JSON.stringify(Object.entries(labels).sort()))
  for (const [group, samples] of groups) checkHistogram(family.name, group, samples)
}

function checkHistogram(name: string, group: string, samples: readonly ParsedSample[]): void {
  const buckets = samples.filter(sample => sample.name.endsWith('_bucket'))
  let before: { bound: number; count: number } = { bound: Number.NEGATIVE_INFINITY, count: 0 }
  for (const { labels, value, exemplar } of buckets) {
    const le = labels.le ?? ''
    if (!CANONICAL_BOUND.test(le)) fail(`le="${le}" is not canonical`, name)
    const bound = toNumber(le)
    if (bound <= before.bound || value < before.count) fail('buckets go down', `${name}${group}`)
    if (exemplar && (exemplar.value > bound || exemplar.value <= before.bound))
      fail('an exemplar lies outside its bucket', `${name}${group}`)
    before = { bound, count: value }
  }
  const count = samples.find(sample => sample.name.endsWith('_count'))?.value
  if (before.bound !== Number.POSITIVE_INFINITY) fail('there is no +Inf bucket', `${name}${group}`)
  if (count !== before.count) fail('_count and the +Inf bucket disagree', `${name}${group}`)
}

function toNumber(text: string): number {
  if (/^[+-]?inf$/i.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  return Number(text)
}

function fail(what: string, line: string): never {
  throw new SyntaxError(`${what}: ${line}`)
}
