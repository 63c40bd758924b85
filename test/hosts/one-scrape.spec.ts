import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isInstalled } from '../dashboards/prometheus-server.ts'
import { parseOpenMetrics } from '../support/open-metrics-parser.ts'
import { type Installations, installHosts } from './installation.ts'

// Seen: applications with a /metrics of prom-client or of OpenTelemetry's Prometheus exporter had no way to answer one scrape with
// their metrics and ours: two `# EOF`, `target_info` twice, our series twice. Fix: `watch.metrics(accept, { others })`. Issue 24.

/** Exit status of promtool where it has read everything, and has advice on names and help. */
const ADVICE = 3
const OURS = /^gatewatch_attempt_duration_seconds_count\{[^}]*profile="acme:me"[^}]*\} (\d+)/gm

describe('an application with a /metrics of its own', () => {
  let installed: Installations
  let host: ChildProcess
  let url: string

  beforeAll(async () => {
    installed = await installHosts(['one-scrape'])
    host = fork('one-scrape.mjs', [], { cwd: installed.folderOf('one-scrape'), stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    const [port] = await once(host, 'message')
    url = `http://127.0.0.1:${port}`
    for (let call = 0; call < 3; call += 1) await fetch(`${url}/work`)
  })
  afterAll(() => {
    host?.kill('SIGKILL')
    installed?.remove()
  })

  const scrape = async (path: string) => {
    const answer = await fetch(`${url}${path}`, { headers: { accept: 'application/openmetrics-text; version=1.0.0' } })
    const body = await answer.text()
    return { type: answer.headers.get('content-type') ?? '', body, ours: [...body.matchAll(OURS)].map(([, count]) => Number(count)) }
  }

  it('of prom-client has both in one answer', async () => {
    const { type, body, ours } = await scrape('/prom-client')
    expect(type).toMatch(/^text\/plain; version=0\.0\.4/)
    expect(body).toContain('app_jobs_total{kind="a \\"quoted\\" one"} 2')
    expect(body).toContain('process_cpu_seconds_total')
    expect(ours).toEqual([3])
    expectWhole(body)
  })

  it('of prom-client in OpenMetrics has both in one answer, which ends once', async () => {
    const { type, body, ours } = await scrape('/prom-client-openmetrics')
    expect(type).toMatch(/^application\/openmetrics-text/)
    expect(ours).toEqual([3])
    expect(body.match(/^# EOF$/gm)).toHaveLength(1)
    expect(body.endsWith('# EOF\n')).toBe(true)
    const gatewatch = parseOpenMetrics(body.slice(body.indexOf('# TYPE target'))).map(({ name }) => name)
    expect(gatewatch).toContain('gatewatch_attempt_duration_seconds')
  })

  it("of OpenTelemetry's exporter alone shows ours without units, so that no board finds them", async () => {
    const { body, ours } = await scrape('/otel-alone')
    expect(ours).toEqual([])
    expect(body).toMatch(/^gatewatch_attempt_duration_count\{[^}]*otel_scope_name="gatewatch"[^}]*\} 3$/m)
  })

  it("of OpenTelemetry's exporter has no series of ours twice, and the target of the application", async () => {
    const { body, ours } = await scrape('/otel')
    expect(ours).toEqual([3])
    expect(body.match(/^target_info.*$/gm)).toEqual([expect.stringContaining('service_name="the-host"')])
    expect(body).toContain('app_orders_total')
    expect(body).not.toContain('otel_scope_name="gatewatch"')
    expectWhole(body)
  })
})

/** No family twice; and Prometheus's own check, where it is installed. Its advice on the names of others is no fault. */
function expectWhole(text: string): void {
  const types = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
  expect(types.filter((name, index) => types.indexOf(name) !== index)).toEqual([])
  if (!isInstalled('promtool')) return
  const { status, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  expect({ status, ours: stderr.split('\n').filter(line => /^(?:gatewatch|gen_ai|error)/.test(line)) }).toEqual({
    status: expect.toSatisfy((code: number) => code === 0 || code === ADVICE),
    ours: [],
  })
}
