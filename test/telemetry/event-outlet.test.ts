import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { AcquireEvent, GatewatchEvent } from '../../src/domain/events.ts'
import { EventOutlet } from '../../src/telemetry/event-outlet.ts'
import { FIELD_ATTRIBUTES } from '../../src/telemetry/event-span.ts'
import type { FinishedSpan } from '../../src/telemetry/finished-span.ts'
import { acquireEvent, memoryWorld, refreshEvent, storeWorld } from '../events/world-events.ts'
import { KeptSpans } from '../support/kept-spans.ts'
import { CANARIES } from './canaries.ts'

const ORIGIN = { resource: { attributes: {} }, scope: { name: 'test' } }
const SAMPLED = { traceFlags: 1 }

/** An event in which every text says the same. */
function everywhere(text: string): GatewatchEvent {
  const fields = Object.fromEntries([...Object.keys(FIELD_ATTRIBUTES), 'noSuchField', text].map(field => [field, text]))
  const caller = { label: text, kind: 'code', stackId: text, function: text, file: text, line: 1, stack: text } as const
  const usual = refreshEvent()
  return {
    ...usual,
    ...fields,
    caller,
    outcome: text,
    standsFor: 1,
    steps: [{ ...fields, name: 'bypass', atMs: 1, caller }],
  } as unknown as GatewatchEvent
}

describe('the outlet of events', () => {
  it('gives an event to the store as its producer made it, and counts an acquisition that is not kept', async () => {
    const w = memoryWorld({ thread: 'never' })
    const outlet = new EventOutlet({ ...ORIGIN, sink: w.store, onDropped: () => {} })
    outlet.onEnd(refreshEvent({ caller: 'src/a.ts#f' }), SAMPLED)
    outlet.onCounted(acquireEvent({ decision: 'reuse' }))
    const { refreshes } = await w.store.query('refreshList', {})
    expect(refreshes).toMatchObject([{ caller: 'src/a.ts#f', durationMs: 5, outcome: 'rotated', via: 'gate' }])
    expect((await w.store.query('eventCounts', undefined)).acquisitions).toMatchObject([{ decision: 'reuse', count: 1 }])
  })

  it.each(CANARIES)('shows neither store nor exporter a trace of $what', async ({ text, mark }) => {
    const w = storeWorld()
    const spans: FinishedSpan[] = []
    const dropped: number[] = []
    const onDropped = (_place: string, count: number) => void dropped.push(count)
    const outlet = new EventOutlet({ ...ORIGIN, sink: w.store, exporters: [{ onEnd: span => spans.push(span) }], onDropped })
    outlet.onEnd(everywhere(text), SAMPLED)
    outlet.onCounted({ ...everywhere(text), kind: 'acquire' } as AcquireEvent)
    await w.store.flush()
    const bytes = Buffer.concat(readdirSync(w.folder).map(name => readFileSync(join(w.folder, name))))
    expect(bytes.includes('token_request')).toBe(true)
    expect(bytes.includes(mark)).toBe(false)
    expect(spans).toHaveLength(1)
    expect(JSON.stringify(spans)).not.toContain(mark)
    expect(dropped[0]).toBeGreaterThan(10)
  })

  it('gives exporters a span only where the trace is exported', () => {
    const spans: FinishedSpan[] = []
    const outlet = new EventOutlet({ ...ORIGIN, exporters: [{ onEnd: span => spans.push(span) }], onDropped: () => {} })
    outlet.onEnd(refreshEvent(), { traceFlags: 0 })
    expect(spans).toEqual([])
    outlet.onEnd(refreshEvent({ traceId: 'a'.repeat(32) }), { traceFlags: 1, droppedSteps: 2 })
    expect(spans).toMatchObject([{ name: 'gatewatch.oauth.refresh', droppedEventsCount: 2 }])
    expect(spans[0]?.spanContext().traceId).toBe('a'.repeat(32))
  })

  it('counts what store and exporter fail at, each on its own, and throws nothing', () => {
    const dropped: string[] = []
    const failing = () => {
      throw new Error('no room')
    }
    const sink = Object.assign(new KeptSpans(), { take: failing })
    const outlet = new EventOutlet({ ...ORIGIN, sink, exporters: [{ onEnd: failing }], onDropped: place => dropped.push(place) })
    outlet.onEnd(refreshEvent(), SAMPLED)
    outlet.onEnd(undefined as never, SAMPLED)
    expect(dropped).toEqual(['event_store', 'export', 'attribute'])
  })
})
