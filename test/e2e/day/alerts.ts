import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ALERTS, RULE_GROUPS } from '../../../dashboards/alerts.ts'
import { GATEWAY_JOB } from '../../../dashboards/scrape-jobs.ts'
import { writeYaml } from '../../../dashboards/yaml.ts'
import { prometheusName } from '../../../otel/prometheus-name.ts'
import { METRICS } from '../../../otel/semconv.ts'
import type { ParsedSample } from '../../support/open-metrics-parser.ts'
import type { LoggedRefresh } from './provider.ts'

/** What was scraped of each gateway at the end of a phase, and when. */
export interface Scrape {
  readonly phase: string
  readonly at: number
  /** A gateway was started again in this phase or before it. */
  readonly isAfterRestart: boolean
  readonly samples: Readonly<Record<string, readonly ParsedSample[]>>
}

/** An alert that must fire. */
export interface Firing {
  readonly alert: string
  readonly labels: Readonly<Record<string, string>>
}

/** Minutes that a phase takes before the rules: what took seconds is spread, so that `for` and windows have their time. */
const PHASE_MINUTES = 12
/** From here on a phase's samples hold. */
const STEP_MINUTE = 2
/** When the alerts are looked at: after the longest `for` of a sudden event, before windows of ten minutes have gone by. */
const LOOK_MINUTE = 9
const EXPIRY = prometheusName(METRICS.tokenExpiry)
/** Ages of tokens are real seconds, and the day is compressed: each refresh of it comes within a minute of the last. */
const NOT_COMPARED: ReadonlySet<string> = new Set(['GatewatchRefreshRightAfterLogin'])

/**
 * A series that was born within the window and ended with its process counts from its first sample on: what it was born
 * with is lost to the long windows of this alert.
 */
const NOT_AFTER_RESTART = 'GatewatchRefreshFailureBurn'

/**
 * Evaluates the rules of dashboards/generated over what was scraped, with `promtool test rules`.
 *
 * @param expected The alerts of each phase, in the order of the scrapes.
 * @returns What promtool says of the differences, with the phases' names; empty when there are none.
 */
export async function alertDifferences(scrapes: readonly Scrape[], expected: readonly (readonly Firing[])[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-day-rules-'))
  try {
    await writeFile(join(folder, 'rules.yml'), writeYaml({ groups: groupsWithoutTexts() }))
    const test = {
      interval: '1m',
      input_series: inputSeries(scrapes),
      alert_rule_test: scrapes.flatMap(({ isAfterRestart }, index) =>
        names(isAfterRestart).map(alertname => ({
          eval_time: `${index * PHASE_MINUTES + LOOK_MINUTE}m`,
          alertname,
          exp_alerts: (expected[index] ?? []).filter(({ alert }) => alert === alertname).map(({ labels }) => ({ exp_labels: labels })),
        })),
      ),
    }
    await writeFile(join(folder, 'test.yml'), writeYaml({ rule_files: ['rules.yml'], evaluation_interval: '1m', tests: [test] }))
    try {
      execFileSync('promtool', ['test', 'rules', 'test.yml'], { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
      return ''
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
      return named(`${stdout}${stderr}`, scrapes)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The burn alerts by the arithmetic of their rules, over what the provider answered in each phase. */
export function burning(refreshes: readonly (readonly LoggedRefresh[])[], phase: number): Firing[] {
  const look = phase * PHASE_MINUTES + LOOK_MINUTE
  const events = refreshes.flatMap((all, index) =>
    all.map(({ status }) => ({ at: index * PHASE_MINUTES + STEP_MINUTE, failed: status >= 300 })),
  )
  const within = (end: number, minutes: number) => events.filter(({ at }) => at <= end && at > end - minutes)
  const ratio = (end: number, minutes: number) => {
    const all = within(end, minutes)
    return all.length === 0 ? 0 : all.filter(({ failed }) => failed).length / all.length
  }
  const burns = [
    { long: '1h', short: '5m', limit: 0.144, hold: 2 },
    { long: '6h', short: '30m', limit: 0.06, hold: 15 },
    { long: '1d', short: '2h', limit: 0.03, hold: 60 },
    { long: '3d', short: '6h', limit: 0.01, hold: 180 },
  ]
  return burns.flatMap(({ long, short, limit, hold }) => {
    const isBurning = (end: number) =>
      ratio(end, minutesOf(long)) > limit &&
      ratio(end, minutesOf(short)) > limit &&
      within(end, minutesOf(long)).filter(({ failed }) => failed).length > 1
    const held = Array.from({ length: hold + 1 }, (_, back) => look - back).every(isBurning)
    return held ? [{ alert: 'GatewatchRefreshFailureBurn', labels: { provider: 'openai-codex', long, short } }] : []
  })
}

/** How many phases back an hour of the stretched day reaches. */
export const PHASES_OF_AN_HOUR = Math.floor((60 - LOOK_MINUTE + STEP_MINUTE - 1) / PHASE_MINUTES)

function names(isAfterRestart: boolean): string[] {
  return [...new Set(ALERTS.map(({ name }) => name as string))].filter(
    name => !NOT_COMPARED.has(name) && !(isAfterRestart && name === NOT_AFTER_RESTART),
  )
}

function groupsWithoutTexts() {
  return RULE_GROUPS.map(({ name, records, alerts }) => ({
    name,
    rules: [
      ...records.map(({ name: record, expression }) => ({ record, expr: expression })),
      ...alerts.map(alert => ({ alert: alert.name, expr: alert.expression, for: alert.for, labels: { ...alert.labels } })),
    ],
  }))
}

function inputSeries(scrapes: readonly Scrape[]): { series: string; values: string }[] {
  const wanted = RULE_GROUPS.flatMap(({ records, alerts }) => [...records, ...alerts])
    .map(({ expression }) => expression)
    .join('\n')
  const lines = new Map<string, string[]>()
  for (const [index, scrape] of scrapes.entries()) {
    const values = valuesOf(scrape, wanted)
    for (const key of new Set([...lines.keys(), ...values.keys()])) {
      const line = lines.get(key) ?? new Array<string>(index * PHASE_MINUTES).fill('_')
      lines.set(key, line)
      addPhase(line, values.get(key))
    }
  }
  return [...lines].map(([series, values]) => ({ series, values: values.join(' ') }))
}

/** A value of a series at the minute of the phase's line. */
type ValueAt = (minute: number) => number

/** The wanted series of a scrape, by their selector. An expiry stays as far ahead as it was at the scrape. */
function valuesOf({ at, samples }: Scrape, wanted: string): Map<string, ValueAt> {
  const values = new Map<string, ValueAt>()
  for (const [instance, all] of Object.entries(samples)) {
    values.set(selector('up', { job: GATEWAY_JOB, instance }), () => 1)
    for (const { name, labels, value } of all.filter(({ name }) => wanted.includes(name))) {
      const leftSeconds = value - at / 1000
      values.set(
        selector(name, { ...labels, job: GATEWAY_JOB, instance }),
        name === EXPIRY ? minute => minute * 60 + leftSeconds : () => value,
      )
    }
  }
  return values
}

/** Appends the minutes of one phase; a series that has ended is stale for one minute. */
function addPhase(line: string[], valueAt: ValueAt | undefined): void {
  const before = line.at(-1) ?? '_'
  line.push(...new Array<string>(STEP_MINUTE).fill(before === 'stale' ? '_' : before))
  for (let left = PHASE_MINUTES - STEP_MINUTE; left > 0; left -= 1) {
    const isStale = line.at(-1) === '_' || line.at(-1) === 'stale'
    line.push(valueAt ? String(valueAt(line.length)) : isStale ? '_' : 'stale')
  }
}

function selector(name: string, labels: Readonly<Record<string, string>>): string {
  return `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}=${JSON.stringify(value)}`)
    .join(', ')}}`
}

function minutesOf(window: string): number {
  const [, count = '0', unit = 'm'] = /^(\d+)([mhd])$/.exec(window) ?? []
  return Number(count) * { m: 1, h: 60, d: 1440 }[unit as 'm' | 'h' | 'd']
}

/** Puts the phases' names where promtool gives times. */
function named(text: string, scrapes: readonly Scrape[]): string {
  return text.replace(/time: (?:(\d+)h)?(?:(\d+)m)?/g, (_whole, hours = '0', minutes = '0') => {
    const phase = scrapes[Math.floor((Number(hours) * 60 + Number(minutes)) / PHASE_MINUTES)]?.phase
    return `phase "${phase}"`
  })
}
