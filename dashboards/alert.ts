import { prometheusLabel } from '../otel/prometheus-name.ts'
import { BOARD_UIDS, type BoardKey } from './links.ts'

/** `critical`: wakes an operator. `warning`: an operator looks today. */
export type Severity = 'critical' | 'warning'

/** How a rule test shows that the alert does what it says: series as `promtool test rules` writes them, a value a minute. */
interface Proof {
  readonly series: Readonly<Record<string, string>>
  /** Minutes after which it does not fire yet, fires, fires no more. */
  readonly notYet: number
  readonly fires: number
  readonly resolved: number
  readonly labels: Readonly<Record<string, string>>
  /** What `{{ $value | humanize }}` becomes. */
  readonly value?: string
}

export interface Alert {
  readonly name: `Gatewatch${string}`
  readonly expression: string
  /** How long the expression must hold, a Prometheus duration. */
  readonly for: string
  readonly severity: Severity
  /** Further labels, where one name has several rules. */
  readonly labels?: Readonly<Record<string, string>>
  /** What is wrong, the same text each time. */
  readonly summary: string
  /** The same with names: a template over the alert's labels. */
  readonly description: string
  readonly board: BoardKey
  /** Labels of the alert that choose the board's variables of the same name. */
  readonly chooses: readonly string[]
  readonly proof: Proof
}

export interface RecordingRule {
  readonly name: `gatewatch:${string}`
  readonly expression: string
}

/** Where annotations lead; `gatewatch dashboards export` puts the operator's own addresses in their place. */
const GRAFANA_URL = 'http://localhost:3000'
/** The gateway serves the runbook itself, at its default address. */
export const RUNBOOK_URL = 'http://127.0.0.1:8089/ops/runbook'

/** On every alert, to route by. */
const PRODUCT_LABEL = { product: 'gatewatch' } as const

/** The value of a label, within a description. */
export function label(name: string): string {
  return `{{ $labels.${prometheusLabel(name)} }}`
}

export const VALUE = '{{ $value | humanize }}'

export function annotationsOf({ name, summary, description, board, chooses }: Alert): Record<string, string> {
  const choices = chooses.map(chosen => `var-${chosen}={{ $labels.${prometheusLabel(chosen)} | urlquery }}`)
  return {
    summary,
    description,
    runbook_url: `${RUNBOOK_URL}#${name.toLowerCase()}`,
    dashboard_url: `${GRAFANA_URL}/d/${BOARD_UIDS[board]}${choices.length > 0 ? `?${choices.join('&')}` : ''}`,
  }
}

export function labelsOf({ severity, labels }: Alert): Record<string, string> {
  return { severity, ...PRODUCT_LABEL, ...labels }
}
