import { setTimeout as sleep } from 'node:timers/promises'
import { type Demo, startDemo } from '../simulator/demo/demo.ts'
import { runSteps } from '../tools/run-guarded.ts'
import type { Output } from './output.ts'
import { EXIT, type ExitCode } from './output.ts'
import { callerTables, profileTable } from './result-tables.ts'
import { waitForSignal } from './signals.ts'

interface DemoCommandOptions {
  /** Port of the gateway. @default 8089, or a free one when that is taken */
  port?: number
  /** Ends by itself after so many seconds. */
  seconds?: number
}

const REDRAW_MS = 1_000
/** Without a terminal to redraw, a table this often. */
const PRINT_MS = 10_000
const SCENES_SHOWN = 5

/** `gatewatch demo`: gateway, simulated provider and live traffic, with a table that shows who refreshes and why. */
export async function demoCommand({ port, seconds }: DemoCommandOptions, output: Output): Promise<ExitCode> {
  const scenes: string[] = []
  const demo = await startDemo({
    ...(port !== undefined && { port }),
    onScene: title => {
      scenes.push(`${new Date().toLocaleTimeString('en-GB')}  ${title}`)
      scenes.splice(0, scenes.length - SCENES_SHOWN)
      if (!isLive(output)) output.note(`* ${title}`)
    },
  })
  const ended = new AbortController()
  const shown = show(demo, scenes, output, ended.signal)
  try {
    const asked = waitForSignal(seconds)
    output.note(addresses(demo))
    await asked
  } finally {
    ended.abort()
    await runSteps('gatewatch demo ends', [
      { name: 'table', run: () => shown },
      { name: 'last table', run: () => print(demo, scenes, output) },
      { name: 'demo', run: () => demo.stop() },
    ])
  }
  return EXIT.good
}

async function show(demo: Demo, scenes: readonly string[], output: Output, signal: AbortSignal): Promise<void> {
  const live = isLive(output)
  while (!signal.aborted) {
    await sleep(live ? REDRAW_MS : PRINT_MS, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    if (live) process.stdout.write('\x1b[2J\x1b[H')
    await print(demo, scenes, output)
  }
}

async function print(demo: Demo, scenes: readonly string[], output: Output): Promise<void> {
  const callers = await demo.watch.events.counts()
  const profiles = await demo.watch.profiles()
  const story = scenes.length === 0 ? [] : [`What happened\n${scenes.join('\n')}`]
  const text = [addresses(demo), profileTable(profiles), callerTables(callers, Date.now()), ...story].join('\n\n')
  output.show({ at: new Date().toISOString(), profiles, ...callers }, isLive(output) ? text : text.slice(text.indexOf('\n\n') + 2))
}

function isLive(output: Output): boolean {
  return !output.isJson && process.stdout.isTTY === true
}

function addresses({ gatewayUrl, simulatorUrl }: Demo): string {
  return [
    `gateway    ${gatewayUrl}    (OpenAI and Anthropic endpoints under /v1)`,
    `metrics    ${gatewayUrl}/metrics`,
    `page       ${gatewayUrl}/ops    (who refreshes and why, live)`,
    `status     ${gatewayUrl}/ops/data/status, or: gatewatch status --url ${gatewayUrl}`,
    `provider   ${simulatorUrl}    (simulated)`,
    'Ctrl-C ends it.',
  ].join('\n')
}
