import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const HOW_TO_GET = 'apt-get install prometheus prometheus-alertmanager'
/** Debian calls it prometheus-alertmanager, everybody else alertmanager. */
const ALERTMANAGERS = ['prometheus-alertmanager', 'alertmanager']

/** Says whether a program can be run. In CI its absence is a failure; elsewhere the tests that need it are skipped. */
export function isInstalled(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    if (process.env.CI === 'true') throw new Error(`${program} is missing: ${HOW_TO_GET}`)
    process.stderr.write(`skipped: ${program} is missing (${HOW_TO_GET})\n`)
    return false
  }
}

export function alertmanagerProgram(): string | undefined {
  return ALERTMANAGERS.find(program => {
    try {
      execFileSync(program, ['--version'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })
}

export interface RunningServer {
  readonly url: string
  stop(): Promise<void>
}

/** One sample of an answer. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: number
}

export interface PrometheusServer extends RunningServer {
  /** Runs an instant query. @throws {Error} with Prometheus' own words when it cannot be run. */
  query(expression: string): Promise<Sample[]>
  /** What the HTTP API answers at `path`. */
  api(path: string): Promise<unknown>
}

export interface PrometheusOptions {
  /** The whole configuration file. */
  readonly configuration: string
  readonly rules?: string
}

/** Starts a Prometheus on loopback in a folder of its own. */
export async function startPrometheus({ configuration, rules }: PrometheusOptions): Promise<PrometheusServer> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-prometheus-'))
  const file = join(folder, 'prometheus.yml')
  await writeFile(file, configuration)
  if (rules !== undefined) await writeFile(join(folder, 'gatewatch.rules.yml'), rules)
  const server = await start('prometheus', folder, port => [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--enable-feature=exemplar-storage',
    '--log.level=warn',
  ])
  const api = async (path: string): Promise<unknown> => {
    const answer = (await (await fetch(`${server.url}/api/v1/${path}`)).json()) as { status: string; error?: string; data: unknown }
    if (answer.status !== 'success') throw new Error(`${path}: ${answer.error}`)
    return answer.data
  }
  return {
    ...server,
    api,
    async query(expression) {
      const data = (await api(`query?query=${encodeURIComponent(expression)}`)) as {
        result: { metric: Record<string, string>; value: [number, string] }[]
      }
      return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }))
    },
  }
}

/** Starts an Alertmanager on loopback in a folder of its own. */
export async function startAlertmanager(program: string, configuration: string): Promise<RunningServer> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-alertmanager-'))
  const file = join(folder, 'alertmanager.yml')
  await writeFile(file, configuration)
  return start(program, folder, port => [
    `--config.file=${file}`,
    `--storage.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--cluster.listen-address=',
    '--log.level=warn',
  ])
}

/** Asks again and again until `look` gives something. @throws {Error} saying what was waited for. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (let tries = 0; tries < 300; tries += 1) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    await sleep(200)
  }
  throw new Error(`waited a minute in vain: ${what}`)
}

async function start(program: string, folder: string, parametersFor: (port: number) => string[]): Promise<RunningServer> {
  for (;;) {
    const server = await startAt(await freePort(), program, folder, parametersFor)
    if (server) return server
  }
}

/** @returns `undefined` when another caller took the port before the program did. */
async function startAt(
  port: number,
  program: string,
  folder: string,
  parametersFor: (port: number) => string[],
): Promise<RunningServer | undefined> {
  const child = spawn(program, parametersFor(port), { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', chunk => {
    said += chunk
  })
  const ended = once(child, 'close')
  const url = `http://127.0.0.1:${port}`
  const begun = await until(`${program} ready`, async () => {
    if (child.exitCode !== null) {
      await ended
      if (said.includes('address already in use')) return 'taken'
      throw new Error(`${program} ended: ${said}`)
    }
    const answer = await fetch(`${url}/-/ready`).catch(() => undefined)
    return answer?.ok === true && 'ready'
  })
  if (begun === 'taken') return undefined
  return {
    url,
    async stop() {
      child.kill('SIGTERM')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
