import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SpanStatusCode } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import { ATTR_CALLER, ATTR_DECISION, ATTRIBUTES, EVENT_BYPASS, SPAN_ACQUIRE, SPAN_REFRESH } from '../../otel/semconv.ts'
import { SpanEvents } from '../../src/events/span-events.ts'
import { RedactingSpanProcessor } from '../../src/telemetry/redaction-processor.ts'
import { CANARIES } from '../telemetry/canaries.ts'
import { memoryWorld, storeWorld } from './world-events.ts'
import { spansInto } from './world-spans.ts'

const AT_MS = Date.now() - 60_000

describe('a store that is fed from spans', () => {
  it('holds the event of each span of ours, and counts acquisitions that are not kept', async () => {
    const w = memoryWorld({ thread: 'never' })
    const processor = new SpanEvents(w.store)
    const { refresh, tracer } = spansInto(processor)
    refresh({ caller: 'src/a.ts#f', startMs: AT_MS })
    tracer.startSpan('work of the host').end()
    processor.onForgotten(SPAN_ACQUIRE, { [ATTR_CALLER]: 'src/a.ts#f', [ATTR_DECISION]: 'reuse' })
    const { refreshes } = await w.store.query('refreshList', {})
    expect(refreshes).toMatchObject([{ caller: 'src/a.ts#f', atMs: AT_MS, durationMs: 5, outcome: 'rotated', via: 'gate' }])
    expect((await w.store.query('eventCounts', undefined)).acquisitions).toMatchObject([{ decision: 'reuse', count: 1 }])
  })

  it.each(CANARIES)('behind the redaction holds no trace of $what', async ({ text, mark }) => {
    const w = storeWorld()
    const redaction = new RedactingSpanProcessor([{ processor: new SpanEvents(w.store), place: 'event_store' }], { onDropped: () => {} })
    const attributes = Object.fromEntries([...Object.keys(ATTRIBUTES), text].map(key => [key, text]))
    const span = spansInto(redaction).tracer.startSpan(SPAN_REFRESH, { attributes })
    span.addEvent(EVENT_BYPASS, attributes)
    span.setStatus({ code: SpanStatusCode.ERROR, message: text })
    span.end()
    await w.store.flush()
    const bytes = Buffer.concat(readdirSync(w.folder).map(name => readFileSync(join(w.folder, name))))
    expect(bytes.includes('token_request')).toBe(true)
    expect(bytes.includes(mark)).toBe(false)
  })
})
