import { parser } from '@prometheus-io/lezer-promql'
import { prometheusLabel, prometheusName } from '../../otel/prometheus-name.ts'
import { METRICS, type MetricDefinition } from '../../otel/semconv.ts'

type Node = ReturnType<typeof parser.parse>['topNode']

/** A selector of a query: what it asks for, by which labels. */
export interface Selector {
  /** Absent where the name is matched by a pattern. */
  readonly metric: string | undefined
  readonly labels: readonly string[]
}

/** Labels that Prometheus adds to each series it scrapes, and the one of alerts and buckets. */
const ALWAYS = ['job', 'instance']
const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  up: ALWAYS,
  ALERTS: ['alertname', 'alertstate', 'severity', 'provider', 'profile', 'caller'],
}

/** Every series name there is, with the labels it has: those of `otel/semconv.ts`, and a few of Prometheus' own. */
export function knownSeries(records: Readonly<Record<string, readonly string[]>> = {}): ReadonlyMap<string, readonly string[]> {
  const known = new Map<string, readonly string[]>([...Object.entries(FOREIGN), ...Object.entries(records)])
  for (const metric of Object.values(METRICS) as MetricDefinition[]) {
    const labels = [...metric.labels.map(prometheusLabel), ...ALWAYS]
    const name = prometheusName(metric)
    if (metric.kind !== 'histogram') known.set(name, labels)
    else {
      for (const suffix of ['_sum', '_count']) known.set(name + suffix, labels)
      known.set(`${name}_bucket`, [...labels, 'le'])
    }
  }
  return known
}

/** Puts values where Grafana's macros and variables are. */
export function interpolate(expression: string, { interval = '1m', range = '1h' } = {}): string {
  return expression
    .replaceAll('$__rate_interval', interval)
    .replaceAll('$__interval', interval)
    .replaceAll('$__range', range)
    .replace(/"\$\w+(\|?)"/g, '".+$1"')
}

/** Where the text is not PromQL; empty when it is. */
export function syntaxFaults(expression: string): string[] {
  const faults: string[] = []
  parser.parse(expression).iterate({
    enter: node => {
      if (node.type.isError) faults.push(`near ${JSON.stringify(expression.slice(Math.max(0, node.from - 20), node.to + 20))}`)
    },
  })
  return faults
}

export function selectorsOf(expression: string): Selector[] {
  return all(parser.parse(expression).topNode, 'VectorSelector').map(node => {
    const name = node.getChild('Identifier')
    return {
      metric: name ? textOf(name, expression) : undefined,
      labels: all(node, 'LabelName')
        .map(label => textOf(label, expression))
        .filter(label => label !== '__name__'),
    }
  })
}

/**
 * Counters that a query shows as they are. One is read through `rate` or `increase`; or, in what `grown` writes, whole
 * where it was born within the window.
 */
export function rawCountersIn(expression: string): string[] {
  return all(parser.parse(expression).topNode, 'VectorSelector')
    .filter(node => /_(?:total|count|sum|bucket)(?:\{|$)/.test(textOf(node, expression)))
    .filter(node => {
      for (let above = node.parent; above; above = above.parent) {
        if (above.name === 'FunctionCall' && /^(?:rate|increase)\(/.test(textOf(above, expression))) return false
        if (above.name === 'BinaryExpr' && above.getChild('Unless')) return false
      }
      return true
    })
    .map(node => textOf(node, expression))
}

/** Every label a query sums by or matches on. */
export function groupingLabelsOf(expression: string): string[] {
  return all(parser.parse(expression).topNode, 'GroupingLabels').flatMap(node =>
    all(node, 'LabelName').map(label => textOf(label, expression)),
  )
}

/** The labels that the answer of a query can have: what aggregation, joins and functions leave of those of its series. */
export function labelsLeftBy(expression: string, known: ReadonlyMap<string, readonly string[]>): string[] {
  const left = (node: Node | undefined): string[] => {
    switch (node?.name) {
      case 'VectorSelector': {
        const name = node.getChild('Identifier')
        return [...(known.get(name ? textOf(name, expression) : '') ?? [])]
      }
      case 'AggregateExpr':
        return leftByAggregation(node)
      case 'FunctionCall':
        return leftByCall(node)
      case 'BinaryExpr':
        return leftByOperator(node)
      default:
        return node ? expressionsIn(node).slice(0, 1).flatMap(left) : []
    }
  }
  const leftByAggregation = (node: Node): string[] => {
    const inner = left(expressionsIn(node)[0])
    const by = node.getChild('AggregateModifier')
    const labels = by ? all(by, 'LabelName').map(label => textOf(label, expression)) : []
    return labels.filter(label => inner.includes(label))
  }
  const leftByCall = (node: Node): string[] => {
    const called = textOf(node.firstChild ?? node, expression)
    const inner = expressionsIn(node).flatMap(left)
    if (called === 'histogram_quantile') return inner.filter(label => label !== 'le')
    if (called === 'absent') return ALWAYS
    return called === 'label_replace' || called === 'label_join' ? [...inner, ...wordsOf(node).slice(0, 1)] : inner
  }
  const leftByOperator = (node: Node): string[] => {
    const [first, second] = expressionsIn(node)
    const [a, b] = [left(first), left(second)]
    if (node.getChild('Or')) return b.length === 0 ? a : a.filter(label => b.includes(label))
    return a.length === 0 ? b : a
  }
  /** The quoted parameters of a call that are its own, not those of a call within it. */
  const wordsOf = (call: Node): string[] => {
    const body = call.getChild('FunctionCallBody')
    return (body?.getChildren('StringLiteral') ?? []).map(node => textOf(node, expression).slice(1, -1))
  }
  return [...new Set(left(parser.parse(expression).topNode))]
}

/** The parts of an expression that are expressions themselves. */
function expressionsIn(node: Node): Node[] {
  const found: Node[] = []
  for (let child = node.firstChild; child; child = child.nextSibling) {
    if (/Expr$|^VectorSelector$|^FunctionCall$|^MatrixSelector$/.test(child.name) && !/^(?:Offset)?DurationExpr$/.test(child.name))
      found.push(child)
    else if (child.name === 'FunctionCallBody') found.push(...expressionsIn(child))
  }
  return found
}

function all(node: Node, name: string): Node[] {
  const found: Node[] = []
  node.cursor().iterate(reference => {
    if (reference.name === name) found.push(reference.node)
  })
  return found
}

function textOf({ from, to }: Node, expression: string): string {
  return expression.slice(from, to)
}
