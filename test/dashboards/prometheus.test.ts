import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RULE_GROUPS } from '../../dashboards/alerts.ts'
import { BOARDS } from '../../dashboards/boards.ts'
import { grown, is, isNot, noneOf, observations, oneOf, series } from '../../dashboards/query.ts'
import { tokenLifePanelQuery } from '../../dashboards/token-life.ts'
import { prometheusName } from '../../otel/prometheus-name.ts'
import { ATTR_ERROR_TYPE, LABEL_OUTCOME, LABEL_REASON, LABEL_VIA, METRICS, type MetricDefinition } from '../../otel/semconv.ts'
import { NEUTRAL_TOKEN_OUTCOMES } from '../../src/domain/enums.ts'
import { GENERATED } from './board-file.ts'
import { type Mix, startMix } from './mix.ts'
import { isInstalled, type PrometheusServer, startPrometheus, until } from './prometheus-server.ts'
import { interpolate } from './promql.ts'

/** Queries that must be empty in the mix, with the reason. */
const EMPTY: Readonly<Record<string, string>> = {
  GatewatchTargetAbsent: 'the gateway is there',
  GatewatchTargetDown: 'the gateway answers',
}
/** Panels without a query for Prometheus, with the reason. */
const NO_PROMQL: Readonly<Record<string, string>> = {
  'What is this?': 'a text',
  'Traces of bypasses': 'asks Tempo, which cannot be installed here',
}
/** Legends whose label is absent from some series of an answer, with the reason. */
const SOMETIMES_ABSENT: Readonly<Record<string, string>> = {
  provider: 'an alert about the store, the labels or the telemetry has no provider',
  profile: 'an alert about a bypass or the store has no profile',
  caller: 'an alert about a profile has no caller',
}
/** Long enough for two scrapes, short enough that the mix is younger. */
const MACROS = { interval: '1m', range: '1h' }

const panels = [
  ...new Map(BOARDS.flatMap(({ rows }) => rows.flatMap(row => row.panels.map(({ panel }) => [panel.title, panel] as const)))).values(),
]
const queries = panels.flatMap(({ title, queries }) =>
  queries.map((query, index) => ({ ...query, name: `${title} / ${query.refId ?? index}` })),
)
const graphs = panels.filter(({ queries }) => queries.some(({ refId }) => refId === 'edges'))
const rules = RULE_GROUPS.flatMap(({ records, alerts }) => [
  ...records.map(({ name, expression }) => ({ name: name as string, expression })),
  ...alerts.map(({ name, labels, expression }) => ({ name: [name, ...Object.values(labels ?? {})].join(' '), expression })),
])

describe.runIf(isInstalled('prometheus'))('a real Prometheus that scrapes a real gateway', { timeout: 120_000 }, () => {
  let mix: Mix
  let prometheus: PrometheusServer

  beforeAll(async () => {
    mix = await startMix()
    prometheus = await startPrometheus({
      rules: readFileSync(join(GENERATED, 'gatewatch.rules.yml'), 'utf8'),
      configuration: JSON.stringify({
        global: { scrape_interval: '1s', evaluation_interval: '1s' },
        rule_files: ['gatewatch.rules.yml'],
        scrape_configs: [{ job_name: 'gatewatch', static_configs: [{ targets: [new URL(mix.gatewayUrl).host] }] }],
      }),
    })
    await until('the first scrape', async () => (await prometheus.query('up == 1')).length === 1)
    await mix.play()
    // A rate needs two samples: the same again after the next scrape.
    await scraped(prometheus, mix)
    await mix.playDeaths()
    await mix.play()
    await scraped(prometheus, mix)
    await until('a step of the subquery', async () => (await prometheus.query(tokenLifePanelQuery())).length > 0)
    // Rules that read other rules need a round of their own.
    await until('the rules', async () => (await prometheus.query('ALERTS{alertname="GatewatchRefreshStorm"}')).length > 0)
  }, 120_000)

  afterAll(async () => {
    await prometheus?.stop()
    await mix?.stop()
  })

  it('is asked by every panel but those with a reason', () => {
    expect(panels.filter(panel => panel.queries.length === 0).map(({ title }) => title)).toEqual(Object.keys(NO_PROMQL))
  })

  it.each(queries)('answers the panel query $name with the labels its legend names', async ({ name, expression, legend = '' }) => {
    // A scrape that comes late on a busy machine leaves a moment without samples.
    let samples: Awaited<ReturnType<typeof prometheus.query>> = []
    const answered = async () => {
      samples = await prometheus.query(interpolate(expression, MACROS))
      return samples.length
    }
    await expect.poll(answered, { message: `${name}: ${interpolate(expression, MACROS)}` }).toBeGreaterThan(0)
    const labels = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = '']) => label)
    for (const label of labels) {
      const has = samples.filter(({ metric }) => metric[label] !== undefined)
      expect(has.length, `${name}: ${label}`).toBeGreaterThan(0)
      if (!(name.startsWith('Firing alerts') && label in SOMETIMES_ABSENT)) expect(has.length, `${name}: ${label}`).toBe(samples.length)
    }
  })

  it.each(graphs)('draws $title: every edge ends at a node', async ({ queries }) => {
    const [nodes = [], edges = []] = await Promise.all(queries.map(({ expression }) => prometheus.query(interpolate(expression, MACROS))))
    const ids = nodes.map(({ metric }) => metric.id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(edges.flatMap(({ metric }) => [metric.source, metric.target]).filter(end => !ids.includes(end))).toEqual([])
    expect(new Set(edges.map(({ metric }) => metric.id)).size).toBe(edges.length)
  })

  it.each(rules)('answers the rule $name, or is empty for a reason', async ({ name, expression }) => {
    const answers = async () => (await prometheus.query(expression)).length > 0
    await expect.poll(answers, { message: `${name}: ${expression}` }).toBe(!(name in EMPTY))
  })

  it('has evaluated every rule without an error', async () => {
    const { groups } = (await prometheus.api('rules')) as { groups: { rules: { name: string; health: string }[] }[] }
    expect(groups.flatMap(({ rules }) => rules)).toHaveLength(rules.length)
    expect(groups.flatMap(({ rules }) => rules.filter(({ health }) => health !== 'ok'))).toEqual([])
  })

  it('knows every metric of the names under the name the boards use', async () => {
    const known = (await prometheus.api('label/__name__/values')) as string[]
    // Profiles are imported by a command, other grants are seen in watched processes: neither is scraped here.
    const elsewhere: readonly string[] = [METRICS.imports.name, METRICS.tokenRequestDuration.name]
    const scraped = (Object.values(METRICS) as MetricDefinition[]).filter(({ name }) => !elsewhere.includes(name))
    const expected = scraped.map(metric => (metric.kind === 'histogram' ? `${prometheusName(metric)}_bucket` : prometheusName(metric)))
    expect(expected.filter(name => !known.includes(name))).toEqual([])
  })

  it('counts refreshes by caller, reason and door exactly as the simulated provider did', async () => {
    // Refreshes that never sent anything: no lease, no room to say so.
    const sent = observations('refreshDuration', {
      [LABEL_OUTCOME]: noneOf('reused', ...NEUTRAL_TOKEN_OUTCOMES),
      [ATTR_ERROR_TYPE]: isNot('GW_STORE_UNWRITABLE'),
    })
    const answered = await prometheus.query(`sum by (caller, reason, via) (${sent})`)
    const reported = new Map(answered.map(({ metric, value }) => [`${metric.caller} ${metric.reason} ${metric.via}`, value]))
    const counted = new Map<string, number>()
    for (const { caller, reason, via, requests } of mix.counted) {
      const key = `${caller} ${reason} ${via}`
      counted.set(key, (counted.get(key) ?? 0) + requests)
    }
    expect(Object.fromEntries(reported)).toEqual(Object.fromEntries(counted))
    const total = mix.simulator.counts().tokenRequests.total
    expect([...counted.values()].reduce((sum, requests) => sum + requests, 0)).toBe(total)
    expect(total).toBeGreaterThan(20)
  })

  it("shows in the boards' tables what the provider counted, to the last one", async () => {
    const bypasses = await prometheus.query(`sum (${grown(series('bypasses'), '1h')})`)
    expect(bypasses[0]?.value).toBe(mix.bypasses())
    const byTheDoor = await prometheus.query(`sum (${grown(observations('refreshDuration', { [LABEL_VIA]: is('bypass') }), '1h')})`)
    expect(byTheDoor[0]?.value).toBe(mix.bypasses())
  })

  it('counts attempts and fallbacks exactly as the simulated provider answered', async () => {
    const { total, byPath } = mix.simulator.counts().providerCalls
    const [attempts] = await prometheus.query(`sum (${observations('attemptDuration')})`)
    expect(attempts?.value).toBe(total)
    const limited = Object.values(byPath).reduce((sum, byStatus) => sum + (byStatus['429'] ?? 0), 0)
    const [fallbacks] = await prometheus.query(`sum (${series('fallbacks', { [LABEL_REASON]: oneOf('rate_limit', 'billing') })})`)
    expect(limited).toBe(4)
    expect(fallbacks?.value).toBe(limited)
  })

  it('keeps exemplars that lead from a histogram to a trace', async () => {
    const now = Date.now() / 1000
    const found = (await prometheus.api(
      `query_exemplars?query=${observations('refreshDuration').replace('_count', '_bucket')}&start=${now - 600}&end=${now}`,
    )) as { exemplars: { labels: { trace_id?: string } }[] }[]
    expect(
      found.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels.trace_id)).filter(id => /^[0-9a-f]{32}$/.test(id ?? '')),
    ).not.toEqual([])
  })
})

/** Waits until Prometheus has what the gateway counts now. */
async function scraped(prometheus: PrometheusServer, { watch }: Mix): Promise<void> {
  const wanted = sumIn((await watch.metrics()).body)
  await until('the scrape of all acquisitions', async () => (await prometheus.query(`sum(${series('acquisitions')})`))[0]?.value === wanted)
  const { length } = await prometheus.query('up')
  const since = Date.now() / 1000
  await until('one more scrape', async () => length > 0 && ((await prometheus.query('timestamp(up)'))[0]?.value ?? 0) > since + 1)
}

function sumIn(exposition: string): number {
  return [...exposition.matchAll(new RegExp(`^${series('acquisitions')}\\{.*\\} (\\d+)$`, 'gm'))].reduce(
    (sum, [, value]) => sum + Number(value),
    0,
  )
}
