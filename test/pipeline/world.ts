import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../dashboards/prometheus-server.ts'
import { ROOT } from '../house/source-files.ts'

/** Programs that the shipped pipeline is made of. Debian has the first two; Go's module proxy has all. */
const PROGRAMS = ['prometheus', 'prometheus-alertmanager', 'otelcol', 'jaeger'] as const

/** Names of the programs that are not on the PATH. */
export function missingPrograms(): string[] {
  return PROGRAMS.filter(program => {
    try {
      execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
      return false
    } catch {
      return true
    }
  })
}

/** A program that runs for as long as the tests do. */
export interface Running {
  stop(): Promise<void>
}

/** The shipped collector, with ports of this run and a shorter wait for whole traces. Kept traces go to `tracesTo`. */
export async function startCollector({ tracesTo }: { tracesTo: number }): Promise<Running & { otlpUrl: string; metricsTarget: string }> {
  const [grpc, http, prometheus, health] = await freePorts(4)
  const at = (port: number | undefined) => `127.0.0.1:${port}`
  const configuration = replaced(readFileSync(join(ROOT, 'otel/pipeline/collector.yaml'), 'utf8'), {
    '127.0.0.1:4317': at(grpc),
    '127.0.0.1:4318': at(http),
    '127.0.0.1:4327': at(tracesTo),
    '127.0.0.1:8889': at(prometheus),
    '127.0.0.1:13133': at(health),
    'decision_wait: 30s': 'decision_wait: 3s',
    'metrics_flush_interval: 15s': 'metrics_flush_interval: 1s',
    // Its own metrics would take port 8888 of the machine.
    'service:\n': 'service:\n  telemetry: { metrics: { level: none } }\n',
  })
  const running = await start('otelcol', configuration, `http://${at(health)}/`)
  return { ...running, otlpUrl: `http://${at(http)}`, metricsTarget: at(prometheus) }
}

/** Jaeger with its store in memory: OTLP over gRPC in, its query API out. */
export async function startJaeger(): Promise<Running & { otlpPort: number; url: string }> {
  const [otlpPort = 0, query, queryGrpc] = await freePorts(3)
  const at = (port: number | undefined) => `127.0.0.1:${port}`
  const configuration = JSON.stringify({
    extensions: {
      jaeger_storage: { backends: { kept: { memory: { max_traces: 100_000 } } } },
      jaeger_query: { storage: { traces: 'kept' }, http: { endpoint: at(query) }, grpc: { endpoint: at(queryGrpc) } },
    },
    receivers: { otlp: { protocols: { grpc: { endpoint: at(otlpPort) } } } },
    exporters: { jaeger_storage_exporter: { trace_storage: 'kept' } },
    service: {
      telemetry: { metrics: { level: 'none' } },
      extensions: ['jaeger_storage', 'jaeger_query'],
      pipelines: { traces: { receivers: ['otlp'], exporters: ['jaeger_storage_exporter'] } },
    },
  })
  const url = `http://${at(query)}`
  return { ...(await start('jaeger', configuration, `${url}/api/services`)), otlpPort, url }
}

export interface DemoRun {
  readonly url: string
  /** Ends the demo in order: what it has not sent yet is sent. */
  stop(): Promise<void>
}

/** The demo, every trace of it sent over OTLP. */
export async function startDemoProcess(otlpUrl: string): Promise<DemoRun> {
  const [port] = await freePorts(1)
  const child = spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), 'demo', '--port', String(port)], {
    env: {
      ...process.env,
      OTEL_EXPORTER_OTLP_ENDPOINT: otlpUrl,
      OTEL_TRACES_SAMPLER: 'always_on',
      OTEL_METRIC_EXPORT_INTERVAL: '1000',
      OTEL_BSP_SCHEDULE_DELAY: '500',
    },
    stdio: 'ignore',
  })
  const ended = once(child, 'exit')
  const url = `http://127.0.0.1:${port}`
  await until('the demo', async () => {
    if (child.exitCode !== null) throw new Error(`the demo ended with ${child.exitCode}`)
    return answers(`${url}/healthz`)
  })
  return {
    url,
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

async function start(program: string, configuration: string, readyUrl: string): Promise<Running> {
  const folder = await mkdtemp(join(tmpdir(), `gatewatch-${program}-`))
  const file = join(folder, 'config.yaml')
  await writeFile(file, configuration)
  const child = spawn(program, ['--config', file], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.on('data', chunk => {
    errors = `${errors}${chunk}`.slice(-4000)
  })
  const ended = once(child, 'close')
  await until(`${program} ready`, async () => {
    if (child.exitCode !== null) throw new Error(`${program} ended: ${errors}`)
    return answers(readyUrl)
  })
  return {
    async stop() {
      child.kill('SIGTERM')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function answers(url: string): Promise<boolean> {
  const response = await fetch(url).catch(() => undefined)
  await response?.arrayBuffer()
  return response?.ok === true
}

/** @throws {RangeError} when a text to replace is not there: the shipped file says something else now. */
function replaced(text: string, replacements: Readonly<Record<string, string>>): string {
  let changed = text
  for (const [from, to] of Object.entries(replacements)) {
    if (!changed.includes(from)) throw new RangeError(`otel/pipeline/collector.yaml has no ${from}`)
    changed = changed.replaceAll(from, to)
  }
  return changed
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map(server => once(server, 'listening')))
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(server => once(server.close(), 'close')))
  return ports
}
