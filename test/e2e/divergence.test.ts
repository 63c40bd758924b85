import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { prometheusName } from '../../otel/prometheus-name.ts'
import { METRICS } from '../../otel/semconv.ts'
import type { Diagnosis } from '../../src/diagnose/diagnose.ts'
import type { FaultName, InjectedFault } from '../../src/simulator/fault.ts'
import { isInstalled, type PrometheusServer, startPrometheus, until } from '../dashboards/prometheus-server.ts'
import { ROOT } from '../house/source-files.ts'
import { atTheEnd, codexLogin, type GatewayWorld, gatewayWorld } from '../support/gateway-world.ts'

/** Where turns go, and the probe does not. */
const TURNS = '/backend-api/codex/responses'
const PROFILE = 'openai-codex:me'
const FIRING = 'ALERTS{alertname="GatewatchProbeDiverges", alertstate="firing"}'

const divergentWorld = () => gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me')] })

/** The probe says that all is well while every turn is refused, as in openclaw/openclaw#82069. */
async function diverge(w: GatewayWorld, name: FaultName): Promise<InjectedFault> {
  const fault = w.simulator.inject({ where: TURNS, name })
  await w.responses()
  expect((await w.post('/ops/probe', {})).json.probes).toMatchObject([{ profile: PROFILE, outcome: 'ok', verdict: 'good' }])
  await wake(w)
  await until('a turn that is refused', async () => (await w.responses()).status === 502)
  return fault
}

async function divergenceOf({ ask }: GatewayWorld): Promise<string[]> {
  const { text } = await ask('/metrics')
  return text.split('\n').filter(line => line.startsWith(`${prometheusName(METRICS.probeDivergence)}{`))
}

async function findingsOf({ ask }: GatewayWorld): Promise<Diagnosis['findings']> {
  return (await ask('/ops/data/findings')).json.findings
}

function report(findings: Diagnosis['findings']) {
  return findings.find(({ kind }) => kind === 'probe_disagrees')
}

describe('a profile whose probe is good while its turns fail', () => {
  it.each<[string, FaultName]>([
    ['401 token_expired', 'token_expired_401'],
    ['403 missing_scope', 'missing_scope_403'],
    ['402, not paid', 'payment_required_402'],
  ])(
    'by %s is in the metric and the status at once and in the findings a moment later, until a turn goes well again',
    async (_what, name) => {
      const w = await divergentWorld()
      await w.responses()
      await w.post('/ops/probe', {})
      expect(await divergenceOf(w)).toEqual([expect.stringMatching(/ 0$/)])
      expect(await findingsOf(w)).toEqual([])

      const fault = await diverge(w, name)
      expect(await divergenceOf(w)).toEqual([expect.stringMatching(new RegExp(`profile="${PROFILE}".* 1$`))])
      expect((await w.ask('/ops/data/status')).json.profiles).toMatchObject([{ probe: { outcome: 'ok', diverges: true } }])
      // They are worked out again every two seconds at most, which is less than any scrape.
      const finding = await until('the finding', async () => report(await findingsOf(w)))
      expect(finding).toMatchObject({ severity: 'divergence', profiles: [PROFILE], confidence: 'certain' })
      expect(finding.what).toMatch(/says ok; in the same one \d of \d calls failed around it.* Both used the access token [0-9a-f]{12}\.$/)
      expect(finding.callers).toMatchObject([{ caller: 'client:node' }])

      fault.remove()
      await turnsWork(w)
      expect(await divergenceOf(w)).toEqual([expect.stringMatching(/ 0$/)])
      await until('the end of the finding', async () => report(await findingsOf(w)) === undefined)
    },
  )
})

describe.runIf(isInstalled('prometheus'))('Prometheus with the shipped rules', { timeout: 120_000 }, () => {
  it('raises the alert with the scrape that shows the divergence, names gateway and profile, and ends it with the next good turn', async () => {
    const w = await divergentWorld()
    const prometheus = await startPrometheus({
      rules: readFileSync(join(ROOT, 'dashboards/generated/gatewatch.rules.yml'), 'utf8'),
      configuration: JSON.stringify({
        global: { scrape_interval: '1s', evaluation_interval: '1s' },
        rule_files: ['gatewatch.rules.yml'],
        scrape_configs: [{ job_name: 'gatewatch', static_configs: [{ targets: [new URL(w.url).host] }] }],
      }),
    })
    atTheEnd(() => prometheus.stop())
    await until('a scrape before it', async () => (await prometheus.query('up == 1')).length === 1)
    const fault = await diverge(w, 'token_expired_401')
    const [alert] = await until('the alert', async () => some(await prometheus.query(FIRING)))
    expect(alert?.metric).toMatchObject({ provider: 'openai-codex', profile: PROFILE, instance: new URL(w.url).host, severity: 'warning' })
    // It was pending at no time; that the first scrape is enough is shown by the test of the rule.
    expect(await activeSince(prometheus)).toMatchObject({ state: 'firing', value: '1e+00' })

    fault.remove()
    await turnsWork(w)
    await until('its end', async () => (await prometheus.query(FIRING)).length === 0)
  })
})

async function turnsWork(w: GatewayWorld): Promise<void> {
  await wake(w)
  await until('a turn that goes well', async () => (await w.responses()).status === 200)
}

/** A profile that failed rests first, for hours where a bill is not paid: an operator wakes it. */
async function wake({ store }: GatewayWorld): Promise<void> {
  await store.rests?.change(PROFILE, () => [])
}

function some<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length > 0 ? list : undefined
}

async function activeSince(prometheus: PrometheusServer): Promise<unknown> {
  const { alerts } = (await prometheus.api('alerts')) as { alerts: { labels: { alertname: string } }[] }
  return alerts.find(({ labels }) => labels.alertname === 'GatewatchProbeDiverges')
}
