import { context, ROOT_CONTEXT, TraceFlags, trace } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import type { AcquireEvent, GatewatchEvent } from '../../src/domain/events.ts'
import { LightTracer } from '../../src/telemetry/light-tracer.ts'
import { MetricStorage } from '../../src/telemetry/metric-storage.ts'
import { OpenEvent } from '../../src/telemetry/open-event.ts'
import type { SpanPlace } from '../../src/telemetry/span-of-event.ts'
import type { TraceChoice } from '../../src/telemetry/span-tree.ts'
import { Telemetry } from '../../src/telemetry/telemetry.ts'
import { openEvent } from '../support/open-events.ts'

const NOT_CHOSEN: TraceChoice = { isSampled: false, isRecorded: false }

function world(choice: TraceChoice = NOT_CHOSEN, { keepsNotable = true } = {}) {
  const kept: { readonly event: GatewatchEvent; readonly place: SpanPlace }[] = []
  const counted: AcquireEvent[] = []
  const outlet = {
    onEnd: (event: GatewatchEvent, place: SpanPlace) => void kept.push({ event, place }),
    onCounted: (event: AcquireEvent) => void counted.push(event),
  }
  const tracer = new LightTracer({ choose: () => choice, keepsNotable, limits: { events: 2, links: 2 }, outlet })
  const telemetry = new Telemetry({ tracer, series: new MetricStorage() })
  const under = ({ span }: OpenEvent) => trace.setSpan(ROOT_CONTEXT, span)
  /** A call with an attempt that has ended, itself still open. */
  const begin = () => {
    const call = openEvent(telemetry, 'call', {}, { parent: ROOT_CONTEXT })
    const attempt = openEvent(telemetry, 'attempt', {}, { parent: under(call) })
    attempt.end()
    return { call, attempt, under: under(call) }
  }
  const kinds = () => kept.map(({ event }) => event.kind)
  const sampled = () => kept.map(({ place }) => place.traceFlags === TraceFlags.SAMPLED)
  return { telemetry, kept, counted, begin, kinds, sampled }
}

/** Says how often it was described. */
class Described extends OpenEvent<'call'> {
  times = 0

  override details() {
    this.times += 1
    return { profile: 'described' }
  }
}

describe('an ordinary trace', () => {
  it('that is not sampled leaves nothing, and nothing is computed for it', () => {
    const w = world()
    const call = new Described(w.telemetry, 'call', {}, { parent: ROOT_CONTEXT })
    call.end()
    w.begin().call.end()
    expect({ kept: w.kept, described: call.times }).toEqual({ kept: [], described: 0 })
  })

  it('that was sampled goes on span by span', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const { call } = w.begin()
    expect(w.kinds()).toEqual(['attempt'])
    call.end()
    expect(w.sampled()).toEqual([true, true])
  })

  it('that is only recorded goes on when it is over, and is not exported', () => {
    const w = world({ isSampled: false, isRecorded: true })
    const { call } = w.begin()
    expect(w.kept).toEqual([])
    call.end()
    expect([w.kinds(), w.sampled()]).toEqual([
      ['attempt', 'call'],
      [false, false],
    ])
  })

  it('does not grow under a span that stays open', () => {
    const w = world({ isSampled: false, isRecorded: true })
    const { under } = w.begin()
    for (let index = 0; index < 100; index += 1) openEvent(w.telemetry, 'attempt', {}, { parent: under }).end()
    expect(w.kept).toHaveLength(64)
  })
})

describe('a trace in which something happens', () => {
  it.each<[string, (w: ReturnType<typeof world>, begun: ReturnType<ReturnType<typeof world>['begin']>) => void]>([
    ['an error', (_w, { call }) => call.set({ isError: true })],
    ['a fallback', (_w, { call }) => call.step('fallback')],
    ['a refresh', (w, { under }) => openEvent(w.telemetry, 'token_request', {}, { parent: under }).end()],
    ['an acquisition that led', (w, { under }) => openEvent(w.telemetry, 'acquire', { decision: 'lead' }, { parent: under }).end()],
    ['an acquisition of a refresh', (w, { under }) => openEvent(w.telemetry, 'acquire', { outcome: 'reused' }, { parent: under }).end()],
    ['an attempt given up', (_w, { call }) => call.end({ isError: false, ...{ outcome: 'aborted' } })],
  ])('(%s) is kept with everything, what had ended before and what ends after', (_what, happen) => {
    const w = world()
    const begun = w.begin()
    expect(w.kept).toEqual([])
    happen(w, begun)
    begun.call.end()
    expect([w.kinds()[0], w.kinds().at(-1)]).toEqual(['attempt', 'call'])
    expect(new Set(w.sampled())).toEqual(new Set([true]))
    expect(w.kept[0]?.event.parentSpanId).toBe(w.kept.at(-1)?.event.spanId)
  })

  it('is recorded and not exported where the operator wants exactly what his sampler says', () => {
    const w = world(NOT_CHOSEN, { keepsNotable: false })
    const { call } = w.begin()
    call.end({ isError: true })
    expect(w.sampled()).toEqual([false, false])
  })

  it('can be found from that moment on, so that a measurement may point to it', () => {
    const { call } = world().begin()
    expect(call.span.spanContext().traceFlags).toBe(TraceFlags.NONE)
    call.step('fallback')
    expect(call.span.spanContext().traceFlags).toBe(TraceFlags.SAMPLED)
  })
})

describe('an acquisition that is a plain reuse', () => {
  it('is counted although its trace is not kept', () => {
    const w = world()
    openEvent(w.telemetry, 'acquire', { reason: 'forced', decision: 'reuse' }, { parent: ROOT_CONTEXT }).end()
    expect(w.kept).toEqual([])
    expect(w.counted).toMatchObject([{ kind: 'acquire', reason: 'forced', decision: 'reuse', standsFor: 1 }])
  })
})

describe('an event', () => {
  it('is described when it ends, after what was set', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const call = new Described(w.telemetry, 'call', { profile: 'set', model: 'm' }, { parent: ROOT_CONTEXT })
    call.end()
    expect(w.kept[0]?.event).toMatchObject({ profile: 'described', model: 'm' })
  })

  it('keeps to the limits of a span and counts what it left out', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const call = openEvent(w.telemetry, 'call', {}, { parent: ROOT_CONTEXT })
    for (let index = 0; index < 6; index += 1) {
      call.step('skipped', { profile: `p${index}` })
      call.span.addLink({ context: call.span.spanContext() })
    }
    call.end()
    const [kept] = w.kept
    expect(kept?.event.steps.map(({ profile }) => profile)).toEqual(['p4', 'p5'])
    expect(kept?.place).toMatchObject({ droppedSteps: 4, droppedLinks: 4 })
  })

  it('is deaf once it has ended, and its span to other code always', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const call = openEvent(w.telemetry, 'call', {}, { parent: ROOT_CONTEXT })
    call.span.setAttribute('key', 'value').addEvent('event').updateName('name')
    call.end()
    call.set({ profile: 'late' })
    call.step('fallback')
    call.end({ isError: true })
    expect(w.kept).toHaveLength(1)
    expect(w.kept[0]?.event).toMatchObject({ kind: 'call', isError: false, steps: [] })
    expect(w.kept[0]?.event).not.toHaveProperty('profile')
    expect(call.span.isRecording()).toBe(false)
  })

  it('goes on with the trace of another caller', () => {
    const w = world({ isSampled: true, isRecorded: true })
    const remote = {
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
      traceFlags: TraceFlags.SAMPLED,
      isRemote: true,
    }
    const parent = trace.setSpanContext(ROOT_CONTEXT, remote)
    openEvent(w.telemetry, 'call', {}, { parent }).end()
    expect(w.kept[0]).toMatchObject({ event: { traceId: remote.traceId, parentSpanId: remote.spanId }, place: { parent: remote } })
    expect(trace.getSpan(context.active())).toBeUndefined()
  })
})
