import type { Alert, RecordingRule } from './alert.ts'
import { FALLBACK_ALERTS } from './fallback-alerts.ts'
import { REFRESH_ALERTS, REFRESH_RULES } from './refresh-alerts.ts'
import { REFRESH_FAILURE_BURN, REFRESH_FAILURE_RULES } from './refresh-failure-burn.ts'
import { INSIDE_ALERTS } from './self-monitoring-alerts.ts'

/** Rules that are evaluated together. */
export interface RuleGroup {
  readonly name: string
  readonly records: readonly RecordingRule[]
  readonly alerts: readonly Alert[]
}

/** Every rule, recording rules first. */
export const RULE_GROUPS: readonly RuleGroup[] = [
  { name: 'gatewatch-records', records: [...REFRESH_RULES, ...REFRESH_FAILURE_RULES], alerts: [] },
  { name: 'gatewatch-refreshes', records: [], alerts: [...REFRESH_FAILURE_BURN, ...REFRESH_ALERTS] },
  { name: 'gatewatch-fallbacks', records: [], alerts: FALLBACK_ALERTS },
  { name: 'gatewatch-inside', records: [], alerts: INSIDE_ALERTS },
]

export const ALERTS: readonly Alert[] = RULE_GROUPS.flatMap(({ alerts }) => alerts)
