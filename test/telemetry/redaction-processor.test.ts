import { createTraceState, ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'
import { type ReadableSpan, type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_CODE_STACK,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_CREDENTIAL_GENERATION,
  ATTR_HAS_REFRESH,
  ATTR_PROVIDER_REQUEST_ID,
  ATTR_REASON,
  ATTR_REQUEST_FIELDS,
  ATTRIBUTES,
  EVENT_BYPASS,
} from '../../otel/semconv.ts'
import { RedactingSpanProcessor } from '../../src/telemetry/redaction-processor.ts'
import { registerSecret } from '../../src/tools/secret-registry.ts'
import { CANARIES } from './canaries.ts'

const CONTEXT = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED }

function world({ inner, longestValue }: { inner?: Partial<SpanProcessor>; longestValue?: number } = {}) {
  const spans: ReadableSpan[] = []
  const drops: Record<string, number> = {}
  const started: unknown[] = []
  const collecting: SpanProcessor = {
    onStart: span => started.push(span),
    onEnd: span => spans.push(span),
    forceFlush: async () => {},
    shutdown: async () => {},
  }
  const processors = [{ ...collecting, ...inner }, collecting].map(processor => ({ processor, place: 'export' as const }))
  const redaction = new RedactingSpanProcessor(inner ? processors : processors.slice(1), {
    onDropped: (place, count) => {
      drops[place] = (drops[place] ?? 0) + count
    },
    ...(longestValue !== undefined && { longestValue }),
  })
  const tracer = new TracerProvider({ spanProcessors: [redaction] }).getTracer('test')
  const text = () => JSON.stringify(spans.map(({ resource: _, ...span }) => ({ ...span, context: span.spanContext() })))
  return { tracer, spans, drops, started, redaction, text }
}

describe('redaction', () => {
  it.each(CANARIES)('$what gets through nowhere', ({ text, mark }) => {
    const w = world()
    const everywhere = Object.fromEntries([...Object.keys(ATTRIBUTES), 'no.such.attribute', text].map(key => [key, text]))
    const span = w.tracer.startSpan(`chat ${text}`, {
      attributes: everywhere,
      links: [{ context: { ...CONTEXT, traceState: createTraceState(`vendor=${encodeURIComponent(mark)}`) }, attributes: everywhere }],
    })
    for (const [key, value] of Object.entries(everywhere)) span.setAttribute(key, value)
    span.addEvent(EVENT_BYPASS, everywhere)
    span.addEvent(text, everywhere)
    span.addLink({ context: CONTEXT, attributes: everywhere })
    span.recordException(new Error(text))
    span.recordException({ name: text, message: text, stack: text })
    span.setStatus({ code: SpanStatusCode.ERROR, message: text })
    span.updateName(`${text} ${text}`)
    span.end()
    expect(w.spans).toHaveLength(1)
    expect(w.spans[0]?.events).toHaveLength(4)
    expect(w.text()).not.toContain(mark)
  })

  it('lets through what it is for', () => {
    const w = world()
    const attributes = {
      [ATTR_REASON]: 'forced',
      [ATTR_CREDENTIAL_GENERATION]: 7,
      [ATTR_HAS_REFRESH]: true,
      [ATTR_CREDENTIAL_FINGERPRINT]: '0123456789ab',
      [ATTR_CALLER]: 'dist/store-CWpdPPTd.js#refresh',
      [ATTR_CODE_STACK]: 'refresh (dist/store-CWpdPPTd.js:715:3)\nasync main (src/index.ts:1:1)',
      [ATTR_REQUEST_FIELDS]: 'client_id grant_type refresh_token',
    }
    w.tracer
      .startSpan('chat gpt-5.5', {
        kind: SpanKind.CLIENT,
        attributes,
        links: [{ context: CONTEXT, attributes: { [ATTR_REASON]: 'expired' } }],
      })
      .addEvent(EVENT_BYPASS, attributes)
      .setStatus({ code: SpanStatusCode.ERROR })
      .end()
    const [span] = w.spans
    expect(span).toMatchObject({ name: 'chat gpt-5.5', kind: SpanKind.CLIENT, attributes, status: { code: SpanStatusCode.ERROR } })
    expect(span?.events[0]).toMatchObject({ name: EVENT_BYPASS, attributes })
    expect(span?.links[0]).toMatchObject({ context: CONTEXT, attributes: { [ATTR_REASON]: 'expired' } })
    expect(w.drops).toEqual({})
  })

  it.each([
    ['a word outside its list', ATTR_REASON, 'because'],
    ['a number where a word belongs', ATTR_REASON, 7],
    ['a text where a number belongs', ATTR_CREDENTIAL_GENERATION, '7'],
    ['no number at all', ATTR_CREDENTIAL_GENERATION, Number.NaN],
    ['a text where a boolean belongs', ATTR_HAS_REFRESH, 'true'],
    ['a digest in capitals', ATTR_CREDENTIAL_FINGERPRINT, '0123456789AB'],
    ['a digest as long as a key', ATTR_CREDENTIAL_FINGERPRINT, '0123456789abcdef0123456789abcdef'],
    ['a list of texts', ATTR_CALLER, ['a', 'b']],
    ['an undeclared attribute', 'http.request.header.authorization', 'x'],
  ])('%s is dropped and counted', (_, key, value) => {
    const w = world()
    w.tracer.startSpan('s', { attributes: { [key]: value } }).end()
    expect(w.spans[0]?.attributes).toEqual({})
    expect(w.spans[0]?.droppedAttributesCount).toBe(1)
    expect(w.drops).toEqual({ attribute: 1 })
  })

  it('cuts values to the length of their class', () => {
    const w = world()
    const long = 'ab/ '.repeat(10_000)
    w.tracer.startSpan(long, { attributes: { [ATTR_CALLER]: long, [ATTR_CODE_STACK]: long, [ATTR_REQUEST_FIELDS]: long } }).end()
    const lengths = Object.values(w.spans[0]?.attributes ?? {}).map(value => String(value).length)
    expect([w.spans[0]?.name.length, ...lengths]).toEqual([120, 120, 8192, 2048])
  })

  it('cuts further where the environment asks for it', () => {
    const w = world({ longestValue: 10 })
    w.tracer.startSpan('s', { attributes: { [ATTR_CODE_STACK]: 'a/'.repeat(50) } }).end()
    expect(w.spans[0]?.attributes[ATTR_CODE_STACK]).toHaveLength(10)
  })

  it("hides a provider's request id that is a secret in use", () => {
    const w = world()
    const token = '7c1e4b9a-52d8-4f36-a0e9-000000000001'
    registerSecret(token)
    w.tracer.startSpan('s', { attributes: { [ATTR_PROVIDER_REQUEST_ID]: token } }).end()
    expect(w.spans[0]?.attributes[ATTR_PROVIDER_REQUEST_ID]).toBe('[secret]')
  })

  it("keeps a provider's request id, which its support asks for, but no key in its place", () => {
    const ids = ['req_011CSHoEeqs5C35K2UUqR7Fy', '123e4567-e89b-12d3-a456-426614174000']
    const w = world()
    for (const id of ids) w.tracer.startSpan('s', { attributes: { [ATTR_PROVIDER_REQUEST_ID]: id, [ATTR_CALLER]: id } }).end()
    expect(w.spans.map(span => span.attributes[ATTR_PROVIDER_REQUEST_ID])).toEqual(ids)
    expect(w.spans.map(span => span.attributes[ATTR_CALLER])).toEqual(['[opaque]', '[opaque]'])
  })

  it('drops tracestate, which comes from a request', () => {
    const w = world()
    const parent = trace.setSpanContext(ROOT_CONTEXT, { ...CONTEXT, isRemote: true, traceState: createTraceState('vendor=canary') })
    w.tracer.startSpan('child', {}, parent).end()
    expect(w.spans.at(-1)?.spanContext().traceId).toBe(CONTEXT.traceId)
    expect(w.text()).not.toContain('canary')
  })

  it('shows no span before it has ended', () => {
    const w = world()
    w.tracer.startSpan('s')
    expect(w.started).toEqual([])
  })

  it('drops and counts a span that cannot be screened, and the host never hears of it', () => {
    const w = world()
    const broken = { attributes: {}, name: 'secret', spanContext: () => CONTEXT } as unknown as ReadableSpan
    expect(() => w.redaction.onEnd(broken)).not.toThrow()
    expect(w.spans).toEqual([])
    expect(w.drops).toEqual({ attribute: 1 })
  })

  it('goes on to the next processor when one throws', () => {
    const w = world({
      inner: {
        onEnd: () => {
          throw new Error('full')
        },
      },
    })
    expect(() => w.tracer.startSpan('s').end()).not.toThrow()
    expect(w.spans).toHaveLength(1)
    expect(w.drops).toEqual({ export: 1 })
  })
})
