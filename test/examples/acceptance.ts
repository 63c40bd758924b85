import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ALERTS } from '../../dashboards/alerts.ts'
import { EMBEDDED_METRICS } from '../../dashboards/embedded-metrics.ts'
import { prometheusName } from '../../otel/prometheus-name.ts'
import { METRICS } from '../../otel/semconv.ts'
import { readBoards } from '../dashboards/board-file.ts'
import { isInstalled, type PrometheusServer, startPrometheus, until } from '../dashboards/prometheus-server.ts'
import { interpolate, selectorsOf } from '../dashboards/promql.ts'
import { ROOT } from '../house/source-files.ts'
import { ADMIN_KEY, type ExampleName, type RunningExample, type ShownFinding, startExample } from './example.ts'

const GUIDE = 'docs/express.md'
/** What stands for every window of the rules. A machine with other work must scrape and evaluate within it. */
const WINDOW = '8s'
/** Series that Prometheus makes itself. */
const OF_PROMETHEUS = new Set(['up', 'ALERTS'])
/** Absent as long as nothing is dropped. */
const OF_FAULTS = ['telemetryDropped', 'labelOverflows'] as const
/** Of the scrape, of a fault of Gatewatch, or of settings that an example does not have. `test/dashboards/rules.test.ts` plays them. */
const NOT_PLAYED = ['GatewatchTargetAbsent', 'GatewatchTargetDown', 'GatewatchTelemetryDropped', 'GatewatchLabelOverflow']

export interface Style {
  readonly name: ExampleName
  readonly accounts: readonly string[]
  /** Path of a route for an account. */
  readonly path: (route: string, account: string) => string
  /** Traffic that this example has alone. */
  readonly also?: (example: RunningExample) => Promise<void>
  readonly expectMetrics?: (metrics: string) => void
  /** What the findings name as callers. */
  readonly callers: { readonly bypass: string; readonly fallback: string; readonly retries: string; readonly refresh: string }
}

/** An example does what an adopter's gateway does: everything that boards, alerts and findings need of it is there. */
export function describeStyle({ name, accounts, path, also, expectMetrics, callers }: Style): void {
  describe(`the example ${name}`, () => {
    const [account = ''] = accounts
    let example: RunningExample
    let prometheus: PrometheusServer | undefined
    let metrics = ''
    let findings: readonly ShownFinding[] = []
    let ended: Awaited<ReturnType<RunningExample['end']>>
    const fired = new Set<string>()

    beforeAll(async () => {
      example = await startExample(name, accounts)
      prometheus = isInstalled('prometheus') ? await watchedBy(example) : undefined
      await play()
      metrics = await example.metrics()
      if (prometheus) await until('the end of all alerts', async () => (await look()).length === 0)
      ended = await example.end()
      findings = await example.diagnose()
    }, 240_000)
    afterAll(async () => {
      await prometheus?.stop()
      await example?.remove()
    })

    const post = async (route: string, of = account) => {
      const answer = await example.post(path(route, of))
      await answer.arrayBuffer()
      return answer.status
    }
    const get = async (route: string) => {
      const answer = await example.get(path(route, account))
      await answer.arrayBuffer()
      return answer.status
    }
    /** Alerts that fire at this moment. */
    const look = async () => {
      const samples = (await prometheus?.query('ALERTS{alertstate="firing"}')) ?? []
      const names = samples.map(({ metric }) => metric.alertname ?? '')
      for (const fires of names) fired.add(fires)
      return names
    }
    /** Waits until these alerts have fired. */
    const untilFired = async (names: readonly string[], meanwhile: () => Promise<unknown> = async () => undefined) => {
      if (!prometheus) return
      await until(names.filter(alert => !fired.has(alert)).join(), async () => {
        await meanwhile()
        await look()
        return names.every(alert => fired.has(alert))
      })
    }
    const signIn = async (of: string, lifeMs?: number) => {
      example.signIn(of, lifeMs)
      expect(await post('/signed-in', of)).toBe(204)
    }

    async function play(): Promise<void> {
      // Ordinary traffic, and refreshes that are not needed.
      for (let calls = 0; calls < 3; calls += 1) expect(await post('/chat')).toBe(200)
      for (let refreshes = 0; refreshes < 8; refreshes += 1) expect(await post('/refresh')).toBe(204)
      await also?.(example)
      await untilFired(['GatewatchRefreshStorm', 'GatewatchRefreshRightAfterLogin'])

      // A call that is retried with the token that was refused; the next one refreshes.
      example.simulator.expireAccess(account)
      expect(await post('/summary')).toBe(401)
      expect(await post('/chat')).toBe(200)

      // The login is limited: calls go on with the key that is paid by use.
      const limits = accounts.map(limited => example.simulator.inject({ where: 'provider', account: limited, name: 'usage_limit_429' }))
      for (const limited of [...accounts, account]) expect(await post('/chat', limited)).toBe(200)
      await untilFired(['GatewatchBillingSwitched', 'GatewatchSustainedFallback', 'GatewatchAllProfilesResting'])
      for (const limit of limits) limit.remove()
      for (const other of accounts.slice(1)) await signIn(other)

      // A logout that the provider does not confirm.
      const unrevoked = example.simulator.inject({ where: '/openai/oauth/revoke', name: 'unavailable_503' })
      expect(await post('/sign-out')).toBe(502)
      unrevoked.remove()

      // A method refreshes past the gate with a token that ends soon; the gate then sends what was used up.
      await signIn(account, 200_000)
      expect(await get('/quota')).toBeLessThan(500)
      expect(await post('/refresh')).toBe(502)
      const failing = ['GatewatchBypass', 'GatewatchReplay', 'GatewatchProfileNeedsLogin', 'GatewatchRefreshFailureBurn']
      await untilFired([...failing, 'GatewatchTokenNotRefreshed', 'GatewatchRevocationFailed'], () => post('/refresh'))
      await signIn(account)
    }

    it('emits every metric that the boards query, but those that do not apply', () => {
      const missing = boardMetrics().filter(metric => !new RegExp(`^${metric}(?:\\{|\\s)`, 'm').test(metrics))
      expect(missing.filter(metric => !notEmitted().has(metric.replace(/_(?:bucket|sum|count)$/, '')))).toEqual([])
      expectMetrics?.(metrics)
    })

    it('lets diagnose name the bypass, the replay, the silent paid fallback and the retries with a refused token', () => {
      const found = (kind: string) => findings.find(finding => finding.kind === kind)
      expect(found('gate_bypassed')?.callers.map(({ caller }) => caller)).toEqual([callers.bypass])
      expect(found('gate_bypassed')?.what).toMatch(/then sent the token that was used up/)
      expect(found('silent_paid_fallback')?.callers.map(({ caller }) => caller)).toEqual([callers.fallback])
      expect(found('same_token_retried')?.what).toMatch(/30 times within/)
      expect(found('same_token_retried')?.callers.map(({ caller }) => caller)).toEqual([callers.retries])
    })

    it('shows who asked the gate, not the function that everyone asks', () => {
      const asked = [...metrics.matchAll(/^gatewatch_gate_acquisitions_total\{[^}]*caller="([^"]*)"/gm)].map(([, caller]) => caller)
      expect(new Set(asked)).toContain(callers.refresh)
      expect(asked.join()).not.toContain('getAccessToken')
    })

    it('ends in order, with nothing to complain about', () => {
      expect(ended).toEqual({ code: 0, output: expect.stringMatching(/^listening on \d+\n$/) })
    })

    it.runIf(isInstalled('prometheus'))('lets every alert that applies fire and resolve', () => {
      const applying = ALERTS.map(alert => alert.name).filter(alert => !notApplying().has(alert) && !NOT_PLAYED.includes(alert))
      expect([...new Set(applying)].filter(alert => !fired.has(alert))).toEqual([])
    })
  })
}

/** Series that the boards ask for. */
function boardMetrics(): string[] {
  const expressions = readBoards().flatMap(({ panels }) =>
    panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => (expr === undefined ? [] : [expr]))),
  )
  const metrics = new Set(expressions.flatMap(expression => selectorsOf(interpolate(expression)).flatMap(({ metric }) => metric ?? [])))
  return [...metrics].filter(metric => !OF_PROMETHEUS.has(metric) && !metric.includes(':')).sort()
}

/** Alerts that the guide says do not apply to a gateway of one's own. */
function notApplying(): ReadonlySet<string> {
  const text = readFileSync(join(ROOT, GUIDE), 'utf8')
  const rows = text.slice(text.indexOf('| alert |'), text.indexOf('Each of the others')).match(/(?<=`)Gatewatch\w+(?=`)/g) ?? []
  expect(rows).not.toEqual([])
  return new Set(rows)
}

/** Series that an application does not have: those of a store and of probes of ours, and those of faults that did not happen. */
function notEmitted(): ReadonlySet<string> {
  const keys = Object.keys(EMBEDDED_METRICS) as (keyof typeof EMBEDDED_METRICS)[]
  const ofOurs = keys.filter(key => 'notApplicable' in EMBEDDED_METRICS[key])
  return new Set([...ofOurs, ...OF_FAULTS].map(key => prometheusName(METRICS[key])))
}

/** A Prometheus that scrapes the example with its key, with the same rules in short windows. Nothing counts as new before one has passed. */
async function watchedBy(example: RunningExample): Promise<PrometheusServer> {
  const rules = readFileSync(join(ROOT, 'dashboards/generated/gatewatch.rules.yml'), 'utf8')
  const prometheus = await startPrometheus({
    rules: rules
      .replaceAll(/\[\d+[mhd]\]/g, `[${WINDOW}]`)
      .replaceAll(/\[\d+[mhd]:\d+s\]/g, `[${WINDOW}:1s]`)
      .replaceAll(/offset \d+[mhd]/g, `offset ${WINDOW}`)
      .replaceAll(/for: "\d+[mh]"/g, 'for: "1s"'),
    configuration: JSON.stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: ['gatewatch.rules.yml'],
      scrape_configs: [
        {
          job_name: 'gatewatch',
          metrics_path: '/gatewatch/metrics',
          authorization: { credentials: ADMIN_KEY },
          static_configs: [{ targets: [new URL(example.url).host] }],
        },
      ],
    }),
  })
  await until('scrapes of a whole window', async () => (await prometheus.query(`up offset ${WINDOW} == 1`)).length === 1)
  await sleep(1_000)
  return prometheus
}
