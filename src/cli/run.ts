import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import type { ProcessRole } from '../domain/enums.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { preloadUrl } from '../tools/own-module.ts'
import type { WatchPolicy } from '../watch/watch-policy.ts'
import {
  type HandedSettings,
  LONGEST_DEEP_STACKS_MS,
  LONGEST_WINDOW_MS,
  namedUrls,
  plainUrls,
  presetOf,
  SETTINGS_VARIABLE,
} from '../watch/watch-settings.ts'
import { preloadOption } from './preload-option.ts'

export interface RunCommandOptions {
  /** State folder of the recorder. @default `GATEWATCH_STATE`, else `~/.gatewatch` */
  state?: string
  /** Frames of the gate. */
  gate?: readonly string[]
  preset?: readonly string[]
  /** More token URLs, `provider=url` or `url`. */
  tokenUrl?: readonly string[]
  /** More base URLs of provider APIs, likewise. */
  api?: readonly string[]
  /** URLs that are not looked at. */
  exclude?: readonly string[]
  /** Files in which the application keeps its tokens. */
  credentials?: readonly string[]
  role?: ProcessRole
  policy?: WatchPolicy
  /** Under `coalesce`, in ms. */
  coalesceWindow?: number
  /** For so long every asynchronous step is noted, in ms. */
  deepStacks?: number
}

/** What a shell says of a command that is not there, and of one that cannot be executed. */
const NOT_FOUND = 127
const NOT_EXECUTABLE = 126

/** Signals that end or steer a process and that it may be waiting for. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'] as const
/** The terminal sends these to everybody in the foreground by itself; twice would mean something else. */
const OF_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGWINCH', 'SIGCONT'])

/**
 * `gatewatch run [options] -- command ...`: runs a command so that it and every Node process it starts are watched.
 *
 * Input and output are the command's own, signals reach it, and it ends as the command does, by the same signal where
 * it was one.
 *
 * @returns The command's exit code; 127 or 126, with a line on stderr, when it cannot be started.
 * @throws {GatewayError} `GW_CONFIG` when an option cannot be used.
 */
export async function runCommand(options: RunCommandOptions, [command = '', ...parameters]: readonly string[]): Promise<number> {
  const environment = { ...process.env, [SETTINGS_VARIABLE]: JSON.stringify(settingsOf(options)), NODE_OPTIONS: nodeOptions() }
  const child = spawn(command, parameters, { stdio: 'inherit', env: environment })
  const forward = (signal: NodeJS.Signals) => {
    if (!(process.stdin.isTTY && OF_TERMINAL.has(signal))) child.kill(signal)
  }
  for (const signal of FORWARDED) process.on(signal, forward)
  return new Promise(done => {
    child.once('error', error => {
      process.stderr.write(`gatewatch: ${reasonOf(command, error)}\n`)
      done((error as NodeJS.ErrnoException).code === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE)
    })
    child.once('exit', (code, signal) => {
      for (const name of FORWARDED) process.off(name, forward)
      if (signal === null) return done(code ?? 0)
      // By the same signal, so that a shell or supervisor sees what it would have seen; a signal takes a moment to come.
      process.kill(process.pid, signal)
      setTimeout(done, 1_000, 128 + constants.signals[signal])
    })
  })
}

function settingsOf({
  state,
  gate,
  preset,
  tokenUrl = [],
  api = [],
  exclude,
  credentials,
  role,
  policy,
  coalesceWindow,
  deepStacks,
}: RunCommandOptions): HandedSettings {
  for (const name of preset ?? []) presetOf(name)
  if (coalesceWindow !== undefined) requireWindow(coalesceWindow, policy ?? process.env.GATEWATCH_POLICY)
  if (deepStacks !== undefined && !(deepStacks > 0 && deepStacks <= LONGEST_DEEP_STACKS_MS))
    throw new GatewayError('GW_CONFIG', '--deep-stacks: must be a day at most', { next: 'fix_configuration' })
  return {
    startedBy: process.pid,
    tokenUrls: namedUrls('--token-url', tokenUrl),
    apis: namedUrls('--api', api),
    ...(state !== undefined && { state: resolve(state) }),
    ...(gate && { gate }),
    ...(preset && { preset }),
    ...(exclude && { exclude: plainUrls('--exclude', exclude) }),
    ...(credentials && { credentials: credentials.map(path => (path.startsWith('~') ? path : resolve(path))) }),
    ...(role && { role }),
    ...(policy && { policy }),
    ...(coalesceWindow !== undefined && { coalesceWindowMs: coalesceWindow }),
    ...(deepStacks !== undefined && { deepStacksUntilMs: Date.now() + deepStacks }),
  }
}

function requireWindow(windowMs: number, policy: string | undefined): void {
  const wrong = windowMs > LONGEST_WINDOW_MS ? 'must be a day at most' : policy !== 'coalesce' && 'goes with --policy coalesce'
  if (wrong) throw new GatewayError('GW_CONFIG', `--coalesce-window: ${wrong}`, { next: 'fix_configuration' })
}

/** The options of every Node to come, with the preload behind those there are. */
function nodeOptions(): string {
  const preload = preloadOption(preloadUrl())
  const before = process.env.NODE_OPTIONS ?? ''
  return before.split(' ').includes(preload) ? before : `${before} ${preload}`.trim()
}

function reasonOf(command: string, error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return `${command}: command not found`
  if (code === 'EACCES') return `${command}: permission denied`
  return `${command}: cannot be started (${code ?? error.name})`
}
