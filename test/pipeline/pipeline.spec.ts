import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { prometheusLabel, prometheusName } from '../../otel/prometheus-name.ts'
import { ATTR_FALLBACK_REASON, ATTR_VIA, EVENT_FALLBACK, METRICS, SPAN_REFRESH } from '../../otel/semconv.ts'
import { SKIP_REASONS } from '../../src/domain/enums.ts'
import { GENERATED } from '../dashboards/board-file.ts'
import { type PrometheusServer, type RunningServer, startAlertmanager, startPrometheus, until } from '../dashboards/prometheus-server.ts'
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../support/otlp-receiver.ts'
import { type DemoRun, missingPrograms, type Running, startCollector, startDemoProcess, startJaeger } from './world.ts'

// `npm run test:pipeline`: the demo through the shipped collector into a real Jaeger, scraped by a real Prometheus both ways,
// its alerts in a real Alertmanager. What arrives is compared with what the demo sent, which a receiver in front of the
// collector keeps. Debian has no collector and no Jaeger: see dashboards/README.md for how to get them.

const missing = missingPrograms()
if (missing.length > 0) process.stderr.write(`SKIPPED: not on the PATH: ${missing.join(', ')}; dashboards/README.md says how to get them\n`)

/** A span as Jaeger's query API gives it. */
interface JaegerSpan {
  readonly traceID: string
  readonly spanID: string
  readonly operationName: string
  readonly tags: readonly { key: string; value: unknown }[]
  readonly logs: readonly { fields: readonly { key: string; value: unknown }[] }[]
}

const REFRESHES = prometheusName(METRICS.refreshDuration)
/** The collector names job and instance by the resource: the service and its id, which is a UUID. */
const PUSHED = 'job="gatewatch",instance=~"[0-9a-f]{8}-[0-9a-f-]{27}"'
/** Tags that Jaeger makes of a span's kind, status and scope. */
const JAEGER_TAGS = /^(?:span\.kind|otel\.|error$|w3c\.tracestate|internal\.)/

describe.runIf(missing.length === 0)('the demo, sent through the shipped pipeline', () => {
  const running: (Running | RunningServer | OtlpReceiver | DemoRun)[] = []
  const alerts: string[] = []
  let sent: readonly ReceivedSpan[]
  let sentBy: OtlpReceiver
  let prometheus: PrometheusServer
  let jaegerUrl: string
  let kept: ReadonlyMap<string, readonly JaegerSpan[]>
  let equalCounts: { scraped: Counts; pushed: Counts }

  beforeAll(async () => {
    const webhook = await startWebhook(alerts)
    running.push(webhook)
    const alertmanager = await startAlertmanager('prometheus-alertmanager', alertmanagerConfiguration(webhook.url))
    running.push(alertmanager)
    const jaeger = await startJaeger()
    jaegerUrl = jaeger.url
    running.push(jaeger)
    const collector = await startCollector({ tracesTo: jaeger.otlpPort })
    running.push(collector)
    sentBy = await startOtlpReceiver({ forwardTo: collector.otlpUrl })
    running.push(sentBy)
    const demo = await startDemoProcess(sentBy.url)
    running.push(demo)
    const scrapedInstance = new URL(demo.url).host
    prometheus = await startPrometheus({
      rules: readFileSync(join(GENERATED, 'gatewatch.rules.yml'), 'utf8'),
      configuration: JSON.stringify({
        global: { scrape_interval: '1s', evaluation_interval: '1s' },
        rule_files: ['gatewatch.rules.yml'],
        alerting: { alertmanagers: [{ static_configs: [{ targets: [new URL(alertmanager.url).host] }] }] },
        scrape_configs: [
          { job_name: 'gatewatch', static_configs: [{ targets: [scrapedInstance] }] },
          { job_name: 'gatewatch-otlp', honor_labels: true, static_configs: [{ targets: [collector.metricsTarget] }] },
        ],
      }),
    })
    running.push(prometheus)
    // The story of the demo: a fallback, a bypass, a dead login, a paid key that serves on.
    await until('a bypass', async () => sentBy.spans().some(isBypass))
    await until('forty calls that pass over a resting profile', async () => sentBy.spans().filter(passesOver).length >= 40)
    await until('an alert', async () => alerts.length > 0)
    // Refreshes are rare: both ways show the same between two of them.
    equalCounts = await until('equal counts', async () => {
      const [scraped, pushed] = [await refreshCounts(prometheus, `instance="${scrapedInstance}"`), await refreshCounts(prometheus, PUSHED)]
      return JSON.stringify(scraped) === JSON.stringify(pushed) && Object.keys(scraped).length > 2 && { scraped, pushed }
    })
    await demo.stop()
    sent = sentBy.spans()
    const mustArrive = new Set(sent.filter(isKept).map(({ traceId }) => traceId))
    kept = await until('the kept traces', async () => {
      const found = await tracesIn(jaegerUrl)
      return [...mustArrive].every(traceId => found.has(traceId)) && found
    })
  })

  afterAll(async () => {
    for (const part of running.toReversed()) await part.stop()
  })

  it('keeps every refresh and every bypass', () => {
    const mustArrive = [...new Set(sent.filter(isKept).map(({ traceId }) => traceId))]
    expect(mustArrive.length).toBeGreaterThan(3)
    expect(sent.some(isBypass)).toBe(true)
    expect(mustArrive.filter(traceId => !kept.has(traceId))).toEqual([])
  })

  it('keeps few of the calls that only pass over a resting profile', () => {
    const traces = Map.groupBy(sent, ({ traceId }) => traceId)
    const ordinary = [...traces].filter(
      ([, spans]) => spans.some(passesOver) && !spans.some(span => isKept(span) || isFailed(span) || fellBack(span)),
    )
    expect(ordinary.length).toBeGreaterThanOrEqual(30)
    expect(ordinary.filter(([traceId]) => kept.has(traceId)).length).toBeLessThan(ordinary.length / 2)
  })

  it('changes nothing of what it keeps: spans, attributes, events', () => {
    const bySpan = new Map(sent.map(span => [span.spanId, span]))
    const arrived = [...kept.values()].flat()
    expect(arrived.length).toBeGreaterThan(10)
    const differences = arrived.flatMap(span => {
      const original = bySpan.get(span.spanID)
      if (!original) return [`${span.operationName}: was not sent`]
      return [
        ...differing(original.name, span.tags, original.attributes),
        ...original.events.flatMap((event, index) => {
          const fields = span.logs[index]?.fields.filter(({ key }) => key !== 'event') ?? []
          return differing(`${original.name} ${event.name}`, fields, event.attributes)
        }),
      ]
    })
    expect(differences).toEqual([])
    expect(arrived.some(({ tags }) => tags.some(({ key }) => key === 'gatewatch.request.fields'))).toBe(true)
  })

  it('counts the same by scrape and by OTLP', () => {
    expect(Object.keys(equalCounts.scraped).length).toBeGreaterThan(2)
    expect(equalCounts.pushed).toEqual(equalCounts.scraped)
  })

  it('shows the last totals that were sent', async () => {
    const last = sentBy.metrics().find(({ name }) => name === METRICS.attemptDuration.name)
    const total = last?.points.reduce((sum, { count = 0 }) => sum + count, 0)
    expect(total).toBeGreaterThan(40)
    const name = `${prometheusName(METRICS.attemptDuration)}_count`
    const shown = await until('the last totals', async () => {
      const [sample] = await prometheus.query(`sum(${name}{${PUSHED}})`)
      return sample?.value === total && sample
    })
    expect(shown.value).toBe(total)
  })

  it('leads from a histogram to a kept trace, ours and that of the spans', async () => {
    const ours = await exemplarsOf(prometheus, `${REFRESHES}_bucket{${PUSHED}}`)
    expect(ours.filter(traceId => kept.has(traceId)).length).toBeGreaterThan(0)
    const spans = await exemplarsOf(prometheus, 'traces_spanmetrics_duration_seconds_bucket')
    expect(spans.length).toBeGreaterThan(0)
  })

  it('makes metrics of every span, and of none of a scrape or a health check', async () => {
    const names = (await prometheus.query('sum by (span_name) (traces_spanmetrics_calls_total)')).map(
      ({ metric }) => metric.span_name ?? '',
    )
    expect(names).toContain(SPAN_REFRESH)
    expect(names.filter(name => /metrics|healthz|readyz/.test(name))).toEqual([])
    const bypasses = sent.filter(span => span.name === SPAN_REFRESH && isBypass(span)).length
    const counted = await until('all bypasses counted', async () => {
      const [sample] = await prometheus.query(`sum(traces_spanmetrics_calls_total{span_name="${SPAN_REFRESH}",gatewatch_via="bypass"})`)
      return sample?.value === bypasses && sample
    })
    expect(counted.value).toBe(bypasses)
  })

  it('brings the alert about the bypass to the one on call', () => {
    expect(alerts.some(body => body.includes('Bypass'))).toBe(true)
  })
})

type Counts = Readonly<Record<string, number>>

/** Refreshes by every label they have. */
async function refreshCounts(prometheus: PrometheusServer, selector: string): Promise<Counts> {
  const labels = METRICS.refreshDuration.labels.map(prometheusLabel).join()
  const samples = await prometheus.query(`sum by (${labels}) (${REFRESHES}_count{${selector}})`)
  return Object.fromEntries(samples.map(({ metric, value }) => [JSON.stringify(Object.entries(metric).sort()), value]).sort())
}

async function tracesIn(url: string): Promise<ReadonlyMap<string, readonly JaegerSpan[]>> {
  const { data: services } = (await (await fetch(`${url}/api/services`)).json()) as { data: string[] | null }
  const answers = await Promise.all(
    (services ?? []).map(async service => {
      const response = await fetch(`${url}/api/traces?service=${encodeURIComponent(service)}&limit=10000&lookback=1h`)
      return ((await response.json()) as { data: { traceID: string; spans: JaegerSpan[] }[] }).data
    }),
  )
  return new Map(answers.flat().map(({ traceID, spans }) => [traceID.padStart(32, '0'), spans]))
}

async function exemplarsOf(prometheus: PrometheusServer, series: string): Promise<string[]> {
  const now = Date.now() / 1000
  const found = (await prometheus.api(`query_exemplars?query=${encodeURIComponent(series)}&start=${now - 900}&end=${now}`)) as {
    exemplars: { labels: { trace_id?: string } }[]
  }[]
  return found.flatMap(({ exemplars }) => exemplars.flatMap(({ labels }) => labels.trace_id ?? []))
}

/** Attributes of a span or event that differ from what was sent; both ways. */
function differing(what: string, found: JaegerSpan['tags'], original: Readonly<Record<string, unknown>>): string[] {
  const arrived = new Map(found.filter(({ key }) => !JAEGER_TAGS.test(key)).map(({ key, value }) => [key, value]))
  const keys = new Set([...arrived.keys(), ...Object.keys(original)])
  return [...keys].flatMap(key =>
    same(arrived.get(key), original[key]) ? [] : [`${what} ${key}: sent ${original[key]}, arrived ${arrived.get(key)}`],
  )
}

function same(arrived: unknown, original: unknown): boolean {
  return String(arrived) === String(original) || (Array.isArray(original) && arrived === JSON.stringify(original))
}

function isKept(span: ReceivedSpan): boolean {
  return span.name === SPAN_REFRESH || isBypass(span)
}

function isBypass({ attributes }: ReceivedSpan): boolean {
  return attributes[ATTR_VIA] === 'bypass'
}

function isFailed({ status }: ReceivedSpan): boolean {
  return status.code === 2
}

function fallbackReasons({ events }: ReceivedSpan): unknown[] {
  return events.flatMap(({ name, attributes }) => (name === EVENT_FALLBACK ? [attributes[ATTR_FALLBACK_REASON]] : []))
}

function isSkip(reason: unknown): boolean {
  return (SKIP_REASONS as readonly unknown[]).includes(reason)
}

/** Fell back because a profile rests: that comes with each call. */
function passesOver(span: ReceivedSpan): boolean {
  return fallbackReasons(span).some(isSkip)
}

/** Fell back because an attempt failed: the beginning of a fallback. */
function fellBack(span: ReceivedSpan): boolean {
  return fallbackReasons(span).some(reason => !isSkip(reason))
}

function alertmanagerConfiguration(webhookUrl: string): string {
  return JSON.stringify({
    route: { receiver: 'on-call', group_wait: '1s', group_interval: '1s', repeat_interval: '1h' },
    receivers: [{ name: 'on-call', webhook_configs: [{ url: webhookUrl }] }],
  })
}

async function startWebhook(received: string[]): Promise<Running & { url: string }> {
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    received.push(body)
    response.end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
