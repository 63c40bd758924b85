import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'
import { emptyResource } from '@opentelemetry/resources'
import { describe, expect, it } from 'vitest'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_DECISION,
  ATTR_PROFILE,
  ATTR_VIA,
  EVENT_FALLBACK,
  EVENT_FIRST_CHUNK,
  SCOPE,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import type { FinishedSpan } from '../../src/telemetry/finished-span.ts'
import { LightTracer } from '../../src/telemetry/light-tracer.ts'
import type { TraceChoice } from '../../src/telemetry/span-tree.ts'

const NOT_CHOSEN: TraceChoice = { isSampled: false, isRecorded: false }

function world(choice: TraceChoice = NOT_CHOSEN, { keepsNotable = true } = {}) {
  const kept: FinishedSpan[] = []
  const forgotten: [string, object][] = []
  const tracer = new LightTracer({
    choose: () => choice,
    keepsNotable,
    resource: emptyResource(),
    scope: { name: SCOPE },
    limits: { attributes: 4, events: 2, links: 2 },
    onEnd: span => kept.push(span),
    onForgotten: (name, attributes) => forgotten.push([name, attributes]),
  })
  const under = (span: ReturnType<LightTracer['startSpan']>) => trace.setSpan(ROOT_CONTEXT, span)
  /** A call with an acquisition and an attempt that have ended, itself still open. */
  const begin = () => {
    const call = tracer.startSpan(SPAN_CALL, {}, ROOT_CONTEXT)
    const attempt = tracer.startSpan('chat m', { kind: SpanKind.CLIENT }, under(call))
    attempt.end()
    return { call, attempt, under: under(call) }
  }
  const names = () => kept.map(({ name }) => name)
  const sampled = () => kept.map(span => span.spanContext().traceFlags === TraceFlags.SAMPLED)
  return { tracer, kept, forgotten, begin, names, sampled }
}

describe('an ordinary trace', () => {
  it('that is not sampled leaves nothing, and nothing is computed for it', () => {
    const w = world()
    let described = 0
    const describe = () => {
      described += 1
      return {}
    }
    w.tracer.startSpan(SPAN_CALL, { describe }, ROOT_CONTEXT).end()
    w.begin().call.end()
    expect({ kept: w.kept, described }).toEqual({ kept: [], described: 0 })
  })

  it('that was sampled goes on span by span', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const { call } = w.begin()
    expect(w.names()).toEqual(['chat m'])
    call.end()
    expect(w.sampled()).toEqual([true, true])
  })

  it('that is only recorded goes on when it is over, and is not exported', () => {
    const w = world({ isSampled: false, isRecorded: true })
    const { call } = w.begin()
    expect(w.kept).toEqual([])
    call.end()
    expect([w.names(), w.sampled()]).toEqual([
      ['chat m', SPAN_CALL],
      [false, false],
    ])
  })

  it('does not grow under a span that stays open', () => {
    const w = world({ isSampled: false, isRecorded: true })
    const { under } = w.begin()
    for (let index = 0; index < 100; index += 1) w.tracer.startSpan('chat m', {}, under).end()
    expect(w.kept).toHaveLength(64)
  })
})

describe('a trace in which something happens', () => {
  it.each<[string, (w: ReturnType<typeof world>, begun: ReturnType<ReturnType<typeof world>['begin']>) => void]>([
    ['an error', (_w, { call }) => call.setStatus({ code: SpanStatusCode.ERROR })],
    ['a fallback', (_w, { call }) => call.addEvent(EVENT_FALLBACK)],
    ['a refresh', (w, { under }) => w.tracer.startSpan(SPAN_REFRESH, {}, under).end()],
    ['a bypass', (w, { under }) => w.tracer.startSpan('POST', { attributes: { [ATTR_VIA]: 'bypass' } }, under).end()],
    ['an acquisition that led', (w, { under }) => w.tracer.startSpan(SPAN_ACQUIRE, {}, under).setAttribute(ATTR_DECISION, 'lead').end()],
    ['an attempt given up', (_w, { call }) => call.setAttribute(ATTR_ATTEMPT_OUTCOME, 'aborted')],
  ])('(%s) is kept with everything, what had ended before and what ends after', (_what, happen) => {
    const w = world()
    const begun = w.begin()
    expect(w.kept).toEqual([])
    happen(w, begun)
    expect(w.names()[0]).toBe('chat m')
    begun.call.end()
    expect(w.names().at(-1)).toBe(SPAN_CALL)
    expect(new Set(w.sampled())).toEqual(new Set([true]))
    expect(w.kept[0]?.parentSpanContext?.spanId).toBe(w.kept.at(-1)?.spanContext().spanId)
  })

  it('is recorded and not exported where the operator wants exactly what his sampler says', () => {
    const w = world(NOT_CHOSEN, { keepsNotable: false })
    const { call } = w.begin()
    call.setStatus({ code: SpanStatusCode.ERROR })
    call.end()
    expect(w.sampled()).toEqual([false, false])
  })

  it('can be found from that moment on, so that a measurement may point to it', () => {
    const { call } = world().begin()
    expect(call.spanContext().traceFlags).toBe(TraceFlags.NONE)
    call.setStatus({ code: SpanStatusCode.ERROR })
    expect(call.spanContext().traceFlags).toBe(TraceFlags.SAMPLED)
  })
})

describe('an acquisition that is a plain reuse', () => {
  it('is counted although its trace is not kept', () => {
    const w = world()
    const acquisition = w.tracer.startSpan(SPAN_ACQUIRE, { attributes: { [ATTR_CALLER]: 'src/a.ts#f' } }, ROOT_CONTEXT)
    acquisition.setAttribute(ATTR_DECISION, 'reuse').end()
    expect([w.kept, w.forgotten]).toEqual([[], [[SPAN_ACQUIRE, { [ATTR_CALLER]: 'src/a.ts#f', [ATTR_DECISION]: 'reuse' }]]])
  })
})

describe('a span', () => {
  it('reads its late attributes when it ends, and what was set goes before it', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const describe = () => ({ [ATTR_PROFILE]: 'asked', [ATTR_CALLER]: 'asked' })
    w.tracer.startSpan(SPAN_CALL, { describe }, ROOT_CONTEXT).setAttribute(ATTR_PROFILE, 'set').end()
    expect(w.kept[0]?.attributes).toEqual({ [ATTR_PROFILE]: 'set', [ATTR_CALLER]: 'asked' })
  })

  it('keeps to its limits and counts what it left out', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const span = w.tracer.startSpan(SPAN_CALL, {}, ROOT_CONTEXT)
    for (let index = 0; index < 6; index += 1) {
      span.setAttribute(`key${index}`, index)
      span.addEvent(`${EVENT_FIRST_CHUNK}${index}`)
      span.addLink({ context: span.spanContext() })
    }
    span.end()
    const [kept] = w.kept
    expect(Object.keys(kept?.attributes ?? {})).toEqual(['key0', 'key1', 'key2', 'key3'])
    expect(kept?.events.map(({ name }) => name)).toEqual([`${EVENT_FIRST_CHUNK}4`, `${EVENT_FIRST_CHUNK}5`])
    expect(kept).toMatchObject({ droppedAttributesCount: 2, droppedEventsCount: 4, droppedLinksCount: 4 })
  })

  it('is deaf once it has ended', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const span = w.tracer.startSpan(SPAN_CALL, {}, ROOT_CONTEXT)
    span.end()
    span.setAttribute(ATTR_PROFILE, 'late').addEvent(EVENT_FALLBACK).setStatus({ code: SpanStatusCode.ERROR }).updateName('late').end()
    expect(w.kept).toMatchObject([{ name: SPAN_CALL, attributes: {}, events: [], status: { code: SpanStatusCode.UNSET } }])
    expect(span.isRecording()).toBe(false)
  })

  it('goes on with the trace of another caller, its state included, and begins one of its own where the call asks for one', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const remote = {
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
      traceFlags: TraceFlags.SAMPLED,
      isRemote: true,
    }
    const parent = trace.setSpanContext(ROOT_CONTEXT, remote)
    w.tracer.startSpan(SPAN_CALL, {}, parent).end()
    w.tracer.startSpan(SPAN_REFRESH, { root: true }, parent).end()
    const [call, refresh] = w.kept
    expect(call).toMatchObject({ parentSpanContext: remote })
    expect(call?.spanContext().traceId).toBe(remote.traceId)
    expect(refresh?.parentSpanContext).toBeUndefined()
    expect(refresh?.spanContext().traceId).not.toBe(remote.traceId)
    expect(trace.getSpan(context.active())).toBeUndefined()
  })
})
