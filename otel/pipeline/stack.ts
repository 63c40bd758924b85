import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

// `npm run stack`: the demo with Prometheus and Alertmanager beside it, on loopback, with the configuration of this folder.
// `npm run stack -- --seconds 60` ends by itself.

const ROOT = join(import.meta.dirname, '../..')
const ALERTMANAGERS = ['prometheus-alertmanager', 'alertmanager']
const READY_TRIES = 150

interface Part {
  readonly name: string
  readonly child: ChildProcess
}

const alertmanager = ALERTMANAGERS.find(isInstalled)
if (!isInstalled('prometheus') || !alertmanager) {
  process.stderr.write('Prometheus and Alertmanager are needed: apt-get install prometheus prometheus-alertmanager\n')
  process.exit(69)
}
// From the beginning on: the parts are in groups of their own, and would outlive us.
const ending = new AbortController()
const signalled = Promise.race(['SIGINT', 'SIGTERM'].map(signal => once(process, signal, { signal: ending.signal })))
const folder = await mkdtemp(join(tmpdir(), 'gatewatch-stack-'))
const parts: Part[] = []
try {
  await Promise.race([signalled, run(alertmanager)])
} finally {
  ending.abort()
  await endAll()
  await rm(folder, { recursive: true, force: true })
}

async function run(alertmanagerProgram: string): Promise<void> {
  const [gatewayPort, prometheusPort, alertmanagerPort] = await freePorts(3)
  const at = (port: number | undefined) => `127.0.0.1:${port}`
  const configuration = (await readFile(join(ROOT, 'otel/pipeline/prometheus.yml'), 'utf8'))
    .replace('../../dashboards/generated', join(ROOT, 'dashboards/generated'))
    .replace('127.0.0.1:8089', at(gatewayPort))
    .replace('127.0.0.1:9093', at(alertmanagerPort))
    // The demo's story takes a minute; a scrape each quarter of it would miss half.
    .replace(/_interval: 15s/g, '_interval: 2s')
  await writeFile(join(folder, 'prometheus.yml'), configuration)

  start('demo', process.execPath, [join(ROOT, 'src/cli/main.ts'), 'demo', '--port', String(gatewayPort)], 'ignore')
  start('alertmanager', alertmanagerProgram, [
    `--config.file=${join(ROOT, 'otel/pipeline/alertmanager.yml')}`,
    `--storage.path=${join(folder, 'alertmanager')}`,
    `--web.listen-address=${at(alertmanagerPort)}`,
    '--cluster.listen-address=',
    '--log.level=warn',
  ])
  start('prometheus', 'prometheus', [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'prometheus')}`,
    `--web.listen-address=${at(prometheusPort)}`,
    '--enable-feature=exemplar-storage',
    '--log.level=warn',
  ])
  await ready(`http://${at(gatewayPort)}/metrics`)
  await ready(`http://${at(alertmanagerPort)}/-/ready`)
  await ready(`http://${at(prometheusPort)}/-/ready`)
  process.stdout.write(
    [
      `gateway       http://${at(gatewayPort)}    (/metrics, /ops/status.json)`,
      `prometheus    http://${at(prometheusPort)}    (/graph, /alerts, /rules)`,
      `alertmanager  http://${at(alertmanagerPort)}`,
      'A bypass comes after 20 seconds, its alert moments later. Ctrl-C ends all of it.',
      '',
    ].join('\n'),
  )
  await theEnd()
}

/** Waits for a signal, for the time that was asked for, or until a part ends by itself. */
async function theEnd(): Promise<void> {
  const asked = process.argv.indexOf('--seconds')
  const seconds = asked < 0 ? undefined : Number(process.argv[asked + 1])
  const ended = parts.map(async ({ name, child }) => {
    await once(child, 'exit', { signal: ending.signal })
    process.stderr.write(`${name} ended by itself\n`)
    process.exitCode = 1
  })
  const timed = seconds === undefined ? [] : [sleep(seconds * 1000, undefined, { signal: ending.signal })]
  const all = [signalled, ...ended, ...timed]
  await Promise.race(all)
  ending.abort()
  await Promise.allSettled(all)
}

function start(name: string, program: string, parameters: readonly string[], output: 'ignore' | 'inherit' = 'inherit'): void {
  ending.signal.throwIfAborted() // a part that starts now would not be stopped
  // A group of its own: Ctrl-C reaches this process alone, which then ends the parts in order.
  const child = spawn(program, parameters, { cwd: folder, stdio: ['ignore', output, output], detached: true })
  child.on('error', error => process.stderr.write(`${name} cannot be started: ${error.message}\n`))
  parts.push({ name, child })
}

async function endAll(): Promise<void> {
  for (const { child } of parts.toReversed()) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const inTime = await Promise.race([ended.then(() => true), sleep(10_000, false, { ref: false })])
    if (!inTime) child.kill('SIGKILL')
  }
}

async function ready(url: string): Promise<void> {
  for (let tries = 0; tries < READY_TRIES; tries += 1) {
    const answer = await fetch(url).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    await sleep(200, undefined, { signal: ending.signal })
  }
  throw new Error(`${url} does not answer`)
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map(server => once(server, 'listening')))
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(server => once(server.close(), 'close')))
  return ports
}

function isInstalled(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
