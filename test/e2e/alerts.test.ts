import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startMix } from '../dashboards/mix.ts'
import { alertmanagerProgram, isInstalled, startAlertmanager, startPrometheus, until } from '../dashboards/prometheus-server.ts'
import { ROOT } from '../house/source-files.ts'

/** What Alertmanager posts to a webhook. */
interface Notification {
  readonly status: 'firing' | 'resolved'
  readonly alerts: readonly {
    readonly status: 'firing' | 'resolved'
    readonly labels: Readonly<Record<string, string>>
    readonly annotations: Readonly<Record<string, string>>
  }[]
}

const program = alertmanagerProgram()
/** What stands for ten minutes. A machine with other work must scrape and evaluate within it. */
const WINDOW = '10s'

describe.runIf(isInstalled('prometheus') && isInstalled(program ?? 'alertmanager'))('an alert', { timeout: 120_000 }, () => {
  it('goes from a real bypass through Prometheus and Alertmanager to a webhook, and resolves', async () => {
    const { url: webhook, received } = await startWebhook()
    const alertmanager = await startAlertmanager(program ?? '', JSON.stringify(routing(webhook)))
    onTestFinished(() => alertmanager.stop())
    const mix = await startMix()
    onTestFinished(() => mix.stop())
    const metrics = await startMetricsPage(mix.gatewayUrl)
    const prometheus = await startPrometheus({
      rules: hastened(readFileSync(join(ROOT, 'dashboards/generated/gatewatch.rules.yml'), 'utf8')),
      configuration: JSON.stringify(scraping(metrics.url, alertmanager.url)),
    })
    onTestFinished(() => prometheus.stop())
    // Nothing counts as new where the target was not scraped a window ago.
    await until('scrapes of a whole window', async () => (await prometheus.query(`up offset ${WINDOW} == 1`)).length === 1)
    await metrics.unchangedWhile(() => mix.playDeaths())

    const firing = await until('the alert', async () => alertOf(received, 'GatewatchBypass', 'firing'))
    expect(firing.labels).toMatchObject({
      severity: 'warning',
      product: 'gatewatch',
      provider: 'openai-codex',
      caller: 'test/dashboards/mix.ts#quickPlugin',
      policy: 'observe',
    })
    expect(firing.annotations).toMatchObject({
      summary: 'A token request went past the refresh gate.',
      description: `test/dashboards/mix.ts#quickPlugin sent ${mix.bypasses()} token request(s) to openai-codex past the gate in the last 10 minutes (policy: observe).`,
    })
    const board = new URL(firing.annotations.dashboard_url ?? '')
    expect(board.pathname).toBe('/d/gatewatch-who-refreshes')
    expect(Object.fromEntries(board.searchParams)).toEqual({
      'var-provider': 'openai-codex',
      'var-caller': 'test/dashboards/mix.ts#quickPlugin',
    })
    const runbook = new URL(firing.annotations.runbook_url ?? '')
    // The link leads to the gateway itself, which serves the runbook; here it listens on another port.
    const page = await (await fetch(mix.gatewayUrl + runbook.pathname)).text()
    expect(runbook.hash).toBe('#gatewatchbypass')
    expect(page).toContain(`id="${runbook.hash.slice(1)}"`)

    const resolved = await until('its end', async () => alertOf(received, 'GatewatchBypass', 'resolved'))
    expect(resolved.labels).toEqual(firing.labels)
  })
})

/** The same rules with short windows: an alert that lasts ten minutes would make the test last as long. */
function hastened(rules: string): string {
  const fast = rules.replaceAll('[10m]', `[${WINDOW}]`).replaceAll('offset 10m', `offset ${WINDOW}`)
  expect(fast).not.toBe(rules)
  return fast
}

function scraping(url: string, alertmanagerUrl: string): object {
  return {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['gatewatch.rules.yml'],
    alerting: { alertmanagers: [{ static_configs: [{ targets: [new URL(alertmanagerUrl).host] }] }] },
    scrape_configs: [{ job_name: 'gatewatch', static_configs: [{ targets: [new URL(url).host] }] }],
  }
}

function routing(webhook: string): object {
  return {
    route: { receiver: 'webhook', group_by: ['alertname'], group_wait: '0s', group_interval: '1s', repeat_interval: '1h' },
    receivers: [{ name: 'webhook', webhook_configs: [{ url: webhook, send_resolved: true }] }],
  }
}

function alertOf(received: readonly Notification[], name: string, status: 'firing' | 'resolved') {
  return received.flatMap(({ alerts }) => alerts).find(alert => alert.labels.alertname === name && alert.status === status)
}

/** The metrics of a gateway, which can be made to stand still: a scrape between two bypasses would describe one alone. */
async function startMetricsPage(gatewayUrl: string) {
  const look = async () => (await fetch(`${gatewayUrl}/metrics`)).text()
  let still: string | undefined
  const server = createServer(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(still ?? (await look()))
  })
  return {
    url: await listening(server),
    async unchangedWhile(work: () => Promise<void>): Promise<void> {
      still = await look()
      await work()
      still = undefined
    },
  }
}

async function startWebhook(): Promise<{ url: string; received: Notification[] }> {
  const received: Notification[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    received.push(JSON.parse(Buffer.concat(chunks).toString()) as Notification)
    response.end()
  })
  return { url: `${await listening(server)}/`, received }
}

/** @returns where it listens, until the test is over */
async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
