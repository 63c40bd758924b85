import { type Attributes, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace as traces } from '@opentelemetry/api'
import { TracerProvider } from '@opentelemetry/sdk-trace'
import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_CODE_FILE,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_DECISION,
  ATTR_OUTCOME,
  ATTR_POLICY,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_REASON,
  ATTR_VIA,
  EVENT_BYPASS,
  EVENT_FALLBACK,
  EVENT_SKIPPED,
  OTHER,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { acquisitionTable, bypasses, callerTable, refreshes, trace } from '../../src/events/queries.ts'
import { Recorder, type RecorderOptions } from '../../src/events/recorder.ts'

function world(options: RecorderOptions = {}) {
  const recorder = new Recorder(options)
  const tracer = new TracerProvider({ spanProcessors: [recorder] }).getTracer('test')
  const span = (name: string, attributes: Attributes = {}, event?: string, eventAttributes?: Attributes) => {
    const started = tracer.startSpan(name, { attributes })
    if (event) started.addEvent(event, eventAttributes)
    started.end()
    return started.spanContext()
  }
  const refresh = (attributes: Attributes = {}) =>
    span(SPAN_REFRESH, {
      [ATTR_CALLER]: 'src/a.ts#f',
      [ATTR_REASON]: 'expired',
      [ATTR_VIA]: 'gate',
      [ATTR_OUTCOME]: 'rotated',
      ...attributes,
    })
  return { recorder, tracer, span, refresh }
}

describe('what the recorder keeps', () => {
  it('is a plain row for every span', () => {
    const w = world()
    const parent = w.tracer.startSpan('chat gpt-5.5', { kind: SpanKind.CLIENT, startTime: 1_000 })
    const child = w.tracer.startSpan(
      SPAN_ACQUIRE,
      {
        startTime: [2, 0],
        attributes: { [ATTR_DECISION]: 'lead' },
        links: [{ context: parent.spanContext(), attributes: { [ATTR_REASON]: 'forced' } }],
      },
      traces.setSpan(ROOT_CONTEXT, parent),
    )
    child.addEvent(EVENT_FALLBACK, { [ATTR_REASON]: 'forced' }, [2, 500_000_000])
    child.setStatus({ code: SpanStatusCode.ERROR })
    child.end([4, 0])
    const [row] = w.recorder.interesting()
    expect(JSON.parse(JSON.stringify(row))).toEqual({
      traceId: parent.spanContext().traceId,
      spanId: child.spanContext().spanId,
      parentSpanId: parent.spanContext().spanId,
      name: SPAN_ACQUIRE,
      kind: 'internal',
      startMs: 2_000,
      durationMs: 2_000,
      status: 'error',
      attributes: { [ATTR_DECISION]: 'lead' },
      events: [{ name: EVENT_FALLBACK, atMs: 2_500, attributes: { [ATTR_REASON]: 'forced' } }],
      links: [{ traceId: parent.spanContext().traceId, spanId: parent.spanContext().spanId, attributes: { [ATTR_REASON]: 'forced' } }],
    })
  })

  it('keeps what is interesting apart from the bulk', () => {
    const w = world({ mostOrdinary: 10 })
    w.refresh()
    for (const decision of ['lead', 'join', 'adopt', 'refuse']) w.span(SPAN_ACQUIRE, { [ATTR_DECISION]: decision })
    for (const event of [EVENT_BYPASS, EVENT_FALLBACK, EVENT_SKIPPED]) w.span(SPAN_CALL, {}, event)
    w.tracer.startSpan('chat gpt-5.5').setStatus({ code: SpanStatusCode.ERROR }).end()
    for (let index = 0; index < 50; index += 1) w.span(index % 2 === 0 ? SPAN_ACQUIRE : 'chat gpt-5.5', { [ATTR_DECISION]: 'reuse' })
    expect(w.recorder.stats()).toEqual({ interesting: { kept: 9, dropped: 0 }, ordinary: { kept: 10, dropped: 40 } })
  })

  it('never holds more than its bounds, and holds the newest', () => {
    const w = world({ mostInteresting: 100 })
    for (let index = 0; index < 1_000; index += 1) w.refresh({ [ATTR_PROFILE]: `p${index}` })
    expect(w.recorder.stats().interesting).toEqual({ kept: 100, dropped: 900 })
    const profiles = refreshes(w.recorder, { most: 1_000 }).map(({ profile }) => profile)
    expect(profiles).toEqual(Array.from({ length: 100 }, (_, index) => `p${999 - index}`))
  })

  it('goes on holding refreshes while calls fall back without end', () => {
    const w = world({ mostInteresting: 10, mostEventful: 10 })
    w.refresh()
    for (let index = 0; index < 500; index += 1) w.span(SPAN_CALL, {}, EVENT_FALLBACK)
    w.refresh()
    expect(refreshes(w.recorder)).toHaveLength(2)
    const names = [...w.recorder.interesting()].map(({ name }) => name)
    expect(names).toEqual([SPAN_REFRESH, ...new Array(10).fill(SPAN_CALL), SPAN_REFRESH])
    expect(w.recorder.stats().interesting).toEqual({ kept: 12, dropped: 490 })
  })

  it('refuses bounds that keep nothing', () => {
    expect(() => new Recorder({ mostInteresting: 0 })).toThrow(RangeError)
    expect(() => new Recorder({ mostOrdinary: 1.5 })).toThrow(RangeError)
  })
})

describe('what can be asked', () => {
  const where = { [ATTR_CODE_FILE]: 'src/a.ts', [ATTR_CODE_LINE]: 12, [ATTR_CODE_STACK]: 'f (src/a.ts:12:3)' }

  it('which refreshes there were, newest first, with who, why and where', () => {
    const w = world()
    w.refresh({ [ATTR_PROVIDER]: 'openai-codex', [ATTR_PROFILE]: 'openai-codex:a', ...where })
    w.refresh({ [ATTR_REASON]: 'forced', [ATTR_OUTCOME]: 'invalidated' })
    w.span(SPAN_ACQUIRE, { [ATTR_DECISION]: 'lead' })
    expect(refreshes(w.recorder)).toMatchObject([
      { reason: 'forced', via: 'gate', outcome: 'invalidated', provider: undefined },
      {
        provider: 'openai-codex',
        profile: 'openai-codex:a',
        caller: 'src/a.ts#f',
        reason: 'expired',
        outcome: 'rotated',
        file: 'src/a.ts',
        line: 12,
        stack: 'f (src/a.ts:12:3)',
        traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
      },
    ])
    expect(refreshes(w.recorder, { reason: 'forced' })).toHaveLength(1)
    expect(refreshes(w.recorder, { most: 1 })).toHaveLength(1)
    expect(refreshes(w.recorder, { sinceMs: Date.now() + 60_000 })).toEqual([])
  })

  it('which token requests went around the gate, whether on a span of their own or as an event', () => {
    const w = world()
    w.refresh()
    w.refresh({ [ATTR_VIA]: 'bypass', [ATTR_POLICY]: 'observe', ...where })
    w.span('POST /turn', { [ATTR_CALLER]: 'src/http.ts#turn' }, EVENT_BYPASS, { [ATTR_CALLER]: 'src/b.ts#probe', [ATTR_POLICY]: 'enforce' })
    expect(bypasses(w.recorder)).toMatchObject([
      { caller: 'src/b.ts#probe', via: 'bypass', policy: 'enforce' },
      { caller: 'src/a.ts#f', via: 'bypass', policy: 'observe', file: 'src/a.ts', line: 12 },
    ])
    expect(bypasses(w.recorder, { caller: 'src/b.ts#probe' })).toHaveLength(1)
  })

  it('who refreshes why and with what outcome, right even for rows that are long gone', () => {
    const w = world({ mostInteresting: 2 })
    for (let index = 0; index < 30; index += 1) w.refresh({ [ATTR_REASON]: index % 3 === 0 ? 'forced' : 'expired' })
    w.refresh({ [ATTR_VIA]: 'bypass', [ATTR_CALLER]: 'src/b.ts#probe' })
    expect(callerTable(w.recorder)).toEqual([
      { caller: 'src/a.ts#f', reason: 'expired', via: 'gate', outcome: 'rotated', count: 20, lastSeenMs: expect.any(Number) },
      { caller: 'src/a.ts#f', reason: 'forced', via: 'gate', outcome: 'rotated', count: 10, lastSeenMs: expect.any(Number) },
      { caller: 'src/b.ts#probe', reason: 'expired', via: 'bypass', outcome: 'rotated', count: 1, lastSeenMs: expect.any(Number) },
    ])
    expect(callerTable(w.recorder, { via: 'bypass' })).toHaveLength(1)
  })

  it('who comes to the gate, plain reuse included', () => {
    const w = world({ mostOrdinary: 1 })
    for (const decision of ['lead', 'join', 'reuse', 'reuse'])
      w.span(SPAN_ACQUIRE, { [ATTR_CALLER]: 'c', [ATTR_REASON]: 'forced', [ATTR_DECISION]: decision })
    expect(acquisitionTable(w.recorder).map(({ decision, count }) => [decision, count])).toEqual([
      ['reuse', 2],
      expect.arrayContaining([1]),
      expect.arrayContaining([1]),
    ])
    expect(acquisitionTable(w.recorder, { decision: 'lead' })).toHaveLength(1)
  })

  it('counts callers past its bound as _other instead of growing', () => {
    const w = world({ mostCounts: 10 })
    for (let index = 0; index < 500; index += 1) w.refresh({ [ATTR_CALLER]: `c${index}` })
    const table = callerTable(w.recorder)
    expect(table).toHaveLength(11)
    expect(table[0]).toMatchObject({ caller: OTHER, count: 490 })
  })

  it('what happened in a trace, in order, from both stores', () => {
    const w = world()
    const root = w.tracer.startSpan('POST /turn', { startTime: [1, 0] })
    const within = traces.setSpan(ROOT_CONTEXT, root)
    w.tracer.startSpan(SPAN_REFRESH, { startTime: [3, 0] }, within).end()
    w.tracer.startSpan('chat gpt-5.5', { startTime: [2, 0] }, within).end()
    root.end()
    w.span('another')
    expect(trace(w.recorder, root.spanContext().traceId).map(({ name }) => name)).toEqual(['POST /turn', 'chat gpt-5.5', SPAN_REFRESH])
    expect(trace(w.recorder, 'f'.repeat(32))).toEqual([])
  })
})
