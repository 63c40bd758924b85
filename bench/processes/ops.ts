import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { GatewatchEvent } from '../../src/domain/events.ts'
import { EventStore } from '../../src/events/event-store.ts'
import { reportAlone } from '../isolate.ts'
import { storeEvents } from '../stored-events.ts'

/** What the ops page asks of a state folder that holds so many events, half of them refreshes. */
const EVENTS = 200_000
const CALLERS = 40
const STACKS = 400
const ASKED = 11
const SPREAD_MS = 6 * 3_600_000

const REASONS = ['expired', 'expiring', 'forced', 'rejected', 'unknown'] as const
const OUTCOMES = ['rotated', 'rotated', 'rotated', 'invalidated', 'throttled'] as const

function eventOf(index: number, endMs: number): GatewatchEvent {
  const startMs = endMs - SPREAD_MS * (1 - index / EVENTS)
  const label = `src/caller-${index % CALLERS}.ts#refresh`
  const base = {
    ...{ startMs, durationMs: 20 + (index % 300), traceId: randomBytes(16).toString('hex'), spanId: randomBytes(8).toString('hex') },
    ...{ links: [], steps: [], isError: false, standsFor: 1, provider: 'openai-codex', profile: `openai-codex:p${index % 20}` },
    caller: { label, kind: 'code' },
  } as const
  if (index % 4 === 1) {
    const isError = index % 40 === 1
    return { ...base, kind: 'attempt', outcome: isError ? 'rate_limit' : 'ok', isError, model: 'gpt-5.5', timeToFirstChunkS: 0.2 }
  }
  if (index % 4 === 3) {
    const move = {
      name: 'fallback',
      atMs: startMs,
      fallbackFrom: 'openai-codex:p1',
      fallbackTo: 'openai:default',
      fallbackReason: 'cooldown',
    } as const
    return { ...base, kind: 'call', profile: 'openai:default', billing: 'metered', steps: index % 40 === 3 ? [move] : [] }
  }
  const outcome = OUTCOMES[index % OUTCOMES.length] ?? 'rotated'
  const stack = index % STACKS
  const text = Array.from(
    { length: 12 },
    (_, depth) => `f${depth}_${stack % (depth + 2)} (src/caller-${stack % CALLERS}.ts:${depth + 1}:3)`,
  )
  return {
    ...base,
    ...{ kind: 'token_request', grant: 'refresh', outcome, isError: outcome !== 'rotated', via: index % 10 === 0 ? 'bypass' : 'gate' },
    reason: REASONS[index % REASONS.length] ?? 'unknown',
    caller: { label, kind: 'code', stackId: stack.toString(16).padStart(12, '0'), stack: text.join('\n') },
    requestFields: 'client_id=opaque:12 grant_type=refresh_token refresh_token=opaque:71',
    refreshFingerprintBefore: randomBytes(6).toString('hex'),
  }
}

/** What the ops page adds to before it sends it. */
function encoded(answer: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(answer))
}

const folder = await mkdtemp(join(tmpdir(), 'gatewatch-bench-ops-'))
try {
  const endMs = Date.now()
  storeEvents(folder, EVENTS, index => eventOf(index, endMs))
  const store = new EventStore({ folder })
  const filter = (more: object = {}) => ({ windowMs: 24 * 3_600_000, toMs: Date.now(), ...more })
  const [line] = (await store.query('newestRefreshes', filter())).lines
  const questions: Readonly<Record<string, () => Promise<Uint8Array>>> = {
    'overview (every view)': async () => encoded(await store.query('storeOverview', undefined)),
    'who refreshes': () => store.queryJson('refreshCallers', filter()),
    'who refreshes, last hour': () => store.queryJson('refreshCallers', filter({ windowMs: 3_600_000 })),
    'who refreshes, one profile': () => store.queryJson('refreshCallers', filter({ profile: 'openai-codex:p2' })),
    'stacks (icicle)': () => store.queryJson('refreshStacks', filter()),
    'latest of a row': () => store.queryJson('newestRefreshes', filter({ caller: 'src/caller-2.ts#refresh' })),
    'bypasses and replays': () => store.queryJson('gateBypasses', filter()),
    profiles: async () => encoded(await store.query('profileEvents', filter())),
    fallback: () => store.queryJson('fallbackWays', filter()),
    calls: () => store.queryJson('callStatistics', filter()),
    'one trace': () => store.queryJson('traceSpans', { traceId: line?.traceId ?? '' }),
  }
  const rows: string[][] = []
  for (const [name, ask] of Object.entries(questions)) {
    const took: number[] = []
    let bytes = 0
    const loop = monitorEventLoopDelay({ resolution: 1 })
    loop.enable()
    for (let asked = 0; asked < ASKED; asked += 1) {
      const at = performance.now()
      bytes = (await ask()).length
      took.push(performance.now() - at)
    }
    loop.disable()
    took.sort((a, b) => a - b)
    const ms = (value = 0) => `${value.toFixed(1)} ms`
    rows.push([name, ms(took[Math.floor(ASKED / 2)]), ms(took.at(-1)), ms(loop.max / 1e6), `${Math.ceil(bytes / 1_024)} KB`])
  }
  await store.shutdown()
  reportAlone({
    title: `Ops page over ${EVENTS.toLocaleString('en')} events on disk, queried in the thread of the store`,
    rows: [['question', 'median', 'slowest', 'loop held', 'answer'], ...rows],
  })
} finally {
  await rm(folder, { recursive: true, force: true })
}
