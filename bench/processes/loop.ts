/**
 * How long the event loop of a host is held by what Gatewatch reads and writes there: 1,000 events a second into a state folder that
 * another process writes as well, and a profile read from its file with every tenth. Beside it, in the same rounds, the loop
 * with the same timers and none of that: what the machine holds it for by itself. Parameters: rounds.
 */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import type { GatewatchEvent } from '../../src/domain/events.ts'
import { EventStore } from '../../src/events/event-store.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { reportAlone } from '../isolate.ts'
import { pace } from '../pace.ts'
import { spread } from '../statistics.ts'

const EVENTS_EACH_SECOND = 1_000
const ROUND_MS = 2_000
const PACE = { eachSecond: EVENTS_EACH_SECOND, forMs: ROUND_MS } as const
const PROFILE = 'bench:default'

function event(index: number): GatewatchEvent {
  const ids = { traceId: randomBytes(16).toString('hex'), spanId: randomBytes(8).toString('hex') }
  const caller = { label: `src/caller-${index % 40}.ts#call`, kind: 'code' } as const
  return {
    ...{ ...ids, kind: 'attempt', startMs: Date.now(), durationMs: 20, links: [], steps: [], isError: false, standsFor: 1 },
    ...{ provider: 'bench', profile: PROFILE, outcome: 'ok', model: 'gpt-5.5', caller },
  }
}

async function writeBeside(folder: string): Promise<void> {
  const store = new EventStore({ folder, thread: 'required' })
  process.once('disconnect', () => process.exit(0))
  for (;;) await pace(index => store.take(event(index)), PACE)
}

/** The longest and the 99.9th hold of the loop in a round, in ms. */
async function held(take: (index: number) => void): Promise<{ readonly most: number; readonly nearlyMost: number }> {
  const loop = monitorEventLoopDelay({ resolution: 1 })
  loop.enable()
  await pace(take, PACE)
  loop.disable()
  return { most: loop.max / 1e6, nearlyMost: loop.percentile(99.9) / 1e6 }
}

async function measure(rounds: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-bench-'))
  const beside = fork(fileURLToPath(import.meta.url), ['beside', folder], { stdio: 'ignore' })
  try {
    const profiles = fileStore(folder)
    await profiles.change(PROFILE, () => ({
      id: PROFILE,
      provider: 'bench',
      credential: { type: 'token', token: 'access-token-of-the-benchmark' },
    }))
    const store = new EventStore({ folder, thread: 'required' })
    const record = (index: number) => {
      store.take(event(index))
      if (index % 10 === 0) void profiles.reload(PROFILE)
    }
    const bare = (index: number) => void event(index)
    await pace(record, PACE)
    const results: Record<'bare' | 'recording', { readonly most: number; readonly nearlyMost: number }[]> = { bare: [], recording: [] }
    for (let round = 0; round < rounds; round += 1) {
      results.bare.push(await held(bare))
      results.recording.push(await held(record))
    }
    await store.shutdown()
    await profiles.close()
    const row = (what: string, values: readonly number[]) => {
      const { median, lower, upper } = spread(values)
      return [what, `${median.toFixed(1)} ms [${lower.toFixed(1)} to ${upper.toFixed(1)}]`]
    }
    reportAlone({
      title: `Longest hold of a host's event loop in ${ROUND_MS / 1_000} s at ${EVENTS_EACH_SECOND} events a second, another process writing; medians [quartiles] of ${rounds} rounds`,
      rows: [
        row(
          'timers alone',
          results.bare.map(({ most }) => most),
        ),
        row(
          'events written, profiles read',
          results.recording.map(({ most }) => most),
        ),
        row(
          'of both the 99.9th percentile: timers alone',
          results.bare.map(({ nearlyMost }) => nearlyMost),
        ),
        row(
          'events written, profiles read',
          results.recording.map(({ nearlyMost }) => nearlyMost),
        ),
      ],
    })
  } finally {
    beside.kill()
    await once(beside, 'exit')
    rmSync(folder, { recursive: true, force: true })
  }
}

const [, , first = '11', folder = ''] = process.argv
await (first === 'beside' ? writeBeside(folder) : measure(Number(first)))
