import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ListedRefresh, refreshList } from '../../src/events/queries/refresh-list.ts'
import { readEvents } from '../../src/events/read-events.ts'
import type { EventSpan } from '../../src/telemetry/event-span.ts'
import { bareEnvironment } from '../support/child-environment.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { REGISTER } from '../support/own-programs.ts'
import { recordedSpans } from '../support/recorded-spans.ts'

export const APPLICATION = fileURLToPath(new URL('../fixtures/watched/application.mjs', import.meta.url))

/** How a process ended. */
export interface Ended {
  readonly pid: number
  readonly code: number | string
  readonly stdout: string
  readonly stderr: string
}

export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when `text` was written to stdout. */
  said(text: string): Promise<void>
}

/** Starts Node with nothing in its environment but what is named. */
export function startNode(parameters: readonly string[], environment: Readonly<Record<string, string>> = {}, cwd?: string): Started {
  const child = spawn(process.execPath, parameters, {
    ...(cwd && { cwd }),
    env: bareEnvironment({ HOME: tmpdir(), ...environment }),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  afterwards(() => child.kill('SIGKILL'))
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const ended = new Promise<Ended>(resolve =>
    child.once('close', (code, signal) => resolve({ pid: child.pid ?? 0, code: code ?? signal ?? '', stdout, stderr })),
  )
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => stdout.includes(text) && resolve()
      child.stdout.on('data', look)
      void ended.then(end => reject(new Error(`ended (${end.code}) before it said ${text}: ${end.stderr}`)))
      look()
    })
  return { child, ended, said }
}

/** What an unmodified application is asked to do. */
export interface Job {
  readonly url: string
  readonly api?: string
  readonly client?: 'fetch' | 'undici' | 'http'
  readonly tokens?: { readonly access?: string; readonly refresh?: string }
  readonly quiet?: boolean
  readonly steps: readonly (readonly [string, ...unknown[]])[]
}

/** Environment by which the preload watches a job. */
export function watchingEnvironment(state: string, job: Job, settings: object = {}): Record<string, string> {
  return {
    NODE_OPTIONS: `--import=${REGISTER}`,
    GATEWATCH_WATCH: JSON.stringify({
      state,
      tokenUrls: { [job.url]: 'openai-codex' },
      ...(job.api && { apis: { [job.api]: 'openai-codex' } }),
      gate: ['refreshUnderLock'],
      ...settings,
    }),
  }
}

/** Runs the application under the preload to its end. */
export async function watched(job: Job, { state = stateFolder(), settings = {}, environment = {}, application = APPLICATION } = {}) {
  const ended = await startNode([application, JSON.stringify(job)], { ...watchingEnvironment(state, job, settings), ...environment }).ended
  return { ...ended, state, refreshes: refreshesIn(state), spans: spansIn(state) }
}

/** The refreshes of a state folder, in the order in which they were made. */
export function refreshesIn(state: string): ListedRefresh[] {
  if (!existsSync(state)) return []
  return readEvents(state, database => [...refreshList(database, { most: 100_000 }).refreshes]).sort((a, b) => a.atMs - b.atMs)
}

/** Every span of a state folder, the oldest first. */
export function spansIn(state: string): EventSpan[] {
  return existsSync(state) ? recordedSpans(state) : []
}

/** All bytes of all files of a folder, as text of one byte a character. */
export function bytesIn(folder: string): string {
  return readdirSync(folder)
    .map(name => readFileSync(join(folder, name), 'latin1'))
    .join('\n')
}

/** A token with readable claims; its signature is not verified. */
export function jwt(claims: object): string {
  return `eyJhbGciOiJSUzI1NiJ9.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2lnbmF0dXJl`
}
