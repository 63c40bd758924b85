/**
 * What `gatewatch diagnose` takes over an event store of 2 GB, as a process of its own: time and greatest resident memory.
 * `node bench/diagnose-large.ts [gigabytes] [folder]`; a folder that is named is kept and used again. Writing it takes minutes.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { eventFile } from '../src/events/event-file.ts'
import { playedEvents, writeEvents } from './diagnose-cost.ts'

const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
const EVENTS_AT_ONCE = 100_000
/** What so many events take on the disk, about. */
const BYTES_AT_ONCE = 80_000_000
const A_WEEK_MS = 7 * 86_400_000
const MOST_MS = 600_000

const bytes = Number(process.argv[2] ?? 2) * 1_000_000_000
const kept = process.argv[3]
const root = await mkdtemp(join(tmpdir(), 'gatewatch-bench-'))
try {
  const state = kept ?? join(root, 'state')
  if (!existsSync(eventFile(state))) await fill(state)
  process.stdout.write(`event store of ${(sizeOf(state) / 1_000_000).toFixed(0)} MB\n`)
  for (const parameters of [[], ['--since', '1h'], ['--since', '28d']]) await measure(state, parameters)
} finally {
  await rm(root, { recursive: true, force: true })
}

async function fill(state: string): Promise<void> {
  const cycle = await playedEvents(join(root, 'played'))
  const beganMs = Date.now() - A_WEEK_MS
  const rounds = Math.ceil(bytes / BYTES_AT_ONCE)
  for (let round = 0; round < rounds; round += 1) {
    const [startMs = 0, endMs = 0] = [round, round + 1].map(part => beganMs + (part / rounds) * A_WEEK_MS)
    writeEvents(state, cycle, { events: EVENTS_AT_ONCE, firstCopy: 100 + round * 1_000, startMs, endMs })
    process.stderr.write(`written: ${(sizeOf(state) / 1_000_000).toFixed(0)} MB\n`)
  }
}

function sizeOf(state: string): number {
  return statSync(eventFile(state), { throwIfNoEntry: false })?.size ?? 0
}

async function measure(state: string, parameters: readonly string[]): Promise<void> {
  const beganAt = performance.now()
  const child = spawn(process.execPath, [MAIN, 'diagnose', '--state', state, '--json', ...parameters], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: MOST_MS,
  })
  let residentKib = 0
  const look = setInterval(() => {
    try {
      residentKib = Math.max(residentKib, Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0))
    } catch {
      // It has ended, or this is not Linux.
    }
  }, 50)
  let answer = ''
  for await (const text of child.stdout.setEncoding('utf8')) answer += text
  clearInterval(look)
  const { findings, checked } = JSON.parse(answer) as { findings: unknown[]; checked: { events: number } }
  process.stdout.write(
    `diagnose ${parameters.join(' ')}: ${((performance.now() - beganAt) / 1_000).toFixed(1)} s, ${(residentKib / 1024).toFixed(0)} MiB resident, ${checked.events} events, ${findings.length} findings\n`,
  )
}
