import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import type { ProcessRole } from '../domain/enums.ts'
import { configError } from '../domain/gateway-error.ts'
import { LEAST_NODE } from '../tools/least-node.ts'
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

export interface RunCommandOptions {
  /** State folder of the event store. @default `GATEWATCH_STATE`, else `~/.gatewatch` */
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

/** Exit codes of a shell for a command that does not exist, and for one that cannot be executed. */
const NOT_FOUND = 127
const NOT_EXECUTABLE = 126

/** Signals that are passed to the child. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'] as const
/** The terminal sends these to the whole foreground process group; the child must not receive them twice. */
const OF_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGWINCH', 'SIGCONT'])

/**
 * `gatewatch run [options] -- command ...`: runs a command so that it and every Node process it starts are watched.
 *
 * The command has the standard streams, receives the signals, and decides how this process ends: by the same exit code or signal.
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
      // Ends by the same signal, for the shell or supervisor; its delivery takes a moment.
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
  if (deepStacks !== undefined) requireDeepStacks(deepStacks)
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
  if (wrong) throw configError(`--coalesce-window: ${wrong}`)
}

function requireDeepStacks(durationMs: number): void {
  if (!(durationMs > 0 && durationMs <= LONGEST_DEEP_STACKS_MS)) throw configError('--deep-stacks: must be a day at most')
}

/** `NODE_OPTIONS` of the child, with the preload after the present options. */
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

/**
 * The option of `NODE_OPTIONS` by which Node loads the preload, and starts the application even where it cannot load it.
 *
 * A preload whose file Node may not read, or whose language it does not know, ends the process before the first line of the
 * application: Node 20 has no TypeScript, `--permission` allows the folders of the application only. A `data:` URL needs no
 * file: its module imports the preload, and writes one line on stderr where that fails.
 *
 * @param register URL of the preload, `src/register`.
 * @returns Text without spaces and quotes, at which `NODE_OPTIONS` would be split.
 */
function preloadOption(register: string): string {
  return `--import=data:text/javascript,${encodeURIComponent(moduleText(register)).replaceAll("'", '%27')}`
}

/** Plain JavaScript for any Node that has `--import`; no file of Gatewatch can be used before it is known to be readable. */
function moduleText(register: string): string {
  return [
    "import{writeSync}from'node:fs';",
    "const number=version=>version.split('.').reduce((sum,part)=>sum*1000+parseInt(part,10),0),running=process.versions.node;",
    'try{',
    `if(number(running)<number('${LEAST_NODE}'))throw new Error('Node '+running+' is too old, ${LEAST_NODE} or newer is needed');`,
    `await import(${JSON.stringify(register)})`,
    '}catch(fault){',
    "const reason=fault.code==='ERR_ACCESS_DENIED'?'the permission model of Node denies access to the files of Gatewatch (--allow-fs-read)':String(fault.message).split('\\n')[0];",
    "try{writeSync(2,'gatewatch: not watching this process: '+reason+'\\n')}catch{}",
    '}',
  ].join('')
}
