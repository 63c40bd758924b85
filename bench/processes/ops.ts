import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { GENAI_REQUEST_MODEL } from '../../otel/genai-semconv.ts'
import * as names from '../../otel/semconv.ts'
import { knownProcess, processRow } from '../../src/events/process-row.ts'
import { retentionOf } from '../../src/events/retention.ts'
import { writtenSpan } from '../../src/events/span-columns.ts'
import type { SpanRow } from '../../src/events/span-row.ts'
import { SpanWriter } from '../../src/events/span-writer.ts'
import { bypassesAnswer } from '../../src/ops/bypasses-answer.ts'
import { callsAnswer } from '../../src/ops/calls-answer.ts'
import { fallbacksAnswer } from '../../src/ops/fallbacks-answer.ts'
import { OpsState } from '../../src/ops/ops-state.ts'
import { profilesAnswer } from '../../src/ops/profiles-answer.ts'
import { queryParamsOf } from '../../src/ops/query-params.ts'
import { recorderSource } from '../../src/ops/recorder-source.ts'
import { refreshesAnswer, refreshLines } from '../../src/ops/refreshes-answer.ts'
import { stacksAnswer } from '../../src/ops/stacks-answer.ts'
import { traceAnswer } from '../../src/ops/trace-answer.ts'
import { reportAlone } from '../isolate.ts'

/** What the ops page asks of a state folder that holds so many spans, half of them refreshes. */
const SPANS = 200_000
const ROWS_AT_ONCE = 2_000
const CALLERS = 40
const STACKS = 400
const ASKED = 21
const SPREAD_MS = 6 * 3_600_000

const REASONS = ['expired', 'expiring', 'forced', 'rejected', 'unknown']
const OUTCOMES = ['rotated', 'rotated', 'rotated', 'invalidated', 'throttled']

function span(index: number, endMs: number): SpanRow {
  const startMs = endMs - SPREAD_MS * (1 - index / SPANS)
  const base = {
    traceId: randomBytes(16).toString('hex'),
    spanId: randomBytes(8).toString('hex'),
    parentSpanId: undefined,
    kind: 'client',
    startMs,
    durationMs: 20,
    links: [],
  } as const
  const profile = { [names.ATTR_PROVIDER]: 'openai-codex', [names.ATTR_PROFILE]: `openai-codex:p${index % 20}` }
  if (index % 4 === 1) {
    const attributes = {
      ...profile,
      [names.ATTR_ATTEMPT_OUTCOME]: index % 40 === 1 ? 'rate_limit' : 'ok',
      [GENAI_REQUEST_MODEL]: 'gpt-5.5',
      [names.ATTR_TIME_TO_FIRST_CHUNK]: 0.2,
    }
    return { ...base, name: 'chat gpt-5.5', status: index % 40 === 1 ? 'error' : 'ok', events: [], attributes }
  }
  if (index % 4 === 3) {
    const words = {
      [names.ATTR_FALLBACK_FROM]: 'openai-codex:p1',
      [names.ATTR_FALLBACK_TO]: 'openai:default',
      [names.ATTR_FALLBACK_REASON]: 'cooldown',
    }
    const events = index % 8 === 3 ? [{ name: names.EVENT_FALLBACK, atMs: startMs, attributes: words }] : []
    return {
      ...base,
      name: names.SPAN_CALL,
      status: 'ok',
      events,
      attributes: { [names.ATTR_PROFILE]: 'openai:default', [names.ATTR_BILLING]: 'metered' },
    }
  }
  const outcome = OUTCOMES[index % OUTCOMES.length] ?? 'rotated'
  const stack = index % STACKS
  return {
    ...base,
    name: names.SPAN_REFRESH,
    status: outcome === 'rotated' ? 'ok' : 'error',
    events: [],
    attributes: {
      ...profile,
      [names.ATTR_CALLER]: `src/caller-${index % CALLERS}.ts#refresh`,
      [names.ATTR_CALLER_KIND]: 'code',
      [names.ATTR_REASON]: REASONS[index % REASONS.length] ?? 'unknown',
      [names.ATTR_VIA]: index % 10 === 0 ? 'bypass' : 'gate',
      [names.ATTR_OUTCOME]: outcome,
      [names.ATTR_STACK_ID]: stack.toString(16).padStart(12, '0'),
      [names.ATTR_CODE_STACK]: Array.from(
        { length: 12 },
        (_, depth) => `f${depth}_${stack % (depth + 2)} (src/caller-${stack % CALLERS}.ts:${depth + 1}:3)`,
      ).join('\n'),
      [names.ATTR_REQUEST_FIELDS]: 'client_id=opaque:12 grant_type=refresh_token refresh_token=opaque:71',
      [names.ATTR_REFRESH_FINGERPRINT_BEFORE]: randomBytes(6).toString('hex'),
    },
  }
}

const folder = await mkdtemp(join(tmpdir(), 'gatewatch-bench-ops-'))
try {
  const endMs = Date.now()
  const writer = new SpanWriter(
    folder,
    () => processRow(knownProcess('unknown', 'bench')),
    retentionOf({ mostInteresting: SPANS, mostOrdinary: SPANS, mostBytes: 8_000_000_000 }),
  )
  for (let begun = 0; begun < SPANS; begun += ROWS_AT_ONCE)
    writer.tryWrite(
      Array.from({ length: ROWS_AT_ONCE }, (_, index) => writtenSpan(span(begun + index, endMs))),
      0,
      5_000,
    )
  writer.close()

  const state = new OpsState(recorderSource({ folder, version: '0' }))
  const beganAt = performance.now()
  while (state.overview().read < 1 || state.aggregates.version < SPANS) await sleep(20)
  const readMs = performance.now() - beganAt
  globalThis.gc?.()
  const { heapUsed } = process.memoryUsage()
  state.stop()

  const { aggregates, source, history } = state
  const asked = (query: Record<string, string> = {}) => queryParamsOf({ query: { window: '24h', ...query } }, aggregates, Date.now())
  const [line] = refreshLines(aggregates, asked()).lines
  const questions: Readonly<Record<string, () => unknown>> = {
    'overview (every view)': () => state.overview(),
    'who refreshes': () => refreshesAnswer(aggregates, asked()),
    'who refreshes, one profile': () => refreshesAnswer(aggregates, asked({ profile: 'openai-codex:p2' })),
    'stacks (icicle)': () => stacksAnswer(aggregates, asked()),
    'latest of a row': () => refreshLines(aggregates, asked({ caller: 'src/caller-2.ts#refresh' })),
    'bypasses and replays (SQLite)': () => source.read(records => bypassesAnswer(records, aggregates, asked())),
    profiles: () => profilesAnswer(aggregates, asked(), undefined, history),
    fallback: () => fallbacksAnswer(aggregates, asked()),
    calls: () => callsAnswer(aggregates, asked()),
    'one trace (SQLite)': () => source.read(records => traceAnswer(records, line?.traceId ?? '')),
  }
  const rows = Object.entries(questions).map(([name, ask]) => {
    let bytes = 0
    const took = Array.from({ length: ASKED }, () => {
      const at = performance.now()
      bytes = JSON.stringify(ask()).length
      return performance.now() - at
    }).sort((a, b) => a - b)
    return [
      name,
      `${(took[Math.floor(ASKED / 2)] ?? 0).toFixed(1)} ms`,
      `${(took.at(-1) ?? 0).toFixed(1)} ms`,
      `${Math.ceil(bytes / 1_024)} KB`,
    ]
  })
  reportAlone({
    title: `Ops page over ${SPANS.toLocaleString('en')} spans on disk: read once in ${(readMs / 1_000).toFixed(1)} s, ${Math.round(heapUsed / 1e6)} MB of heap`,
    rows: [['question', 'median', 'slowest', 'answer'], ...rows],
  })
} finally {
  await rm(folder, { recursive: true, force: true })
}
