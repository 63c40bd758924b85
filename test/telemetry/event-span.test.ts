import { describe, expect, it } from 'vitest'
import { ATTR_IMPORT_COUNTS, ATTR_PERMANENT, ATTR_PROCESS_ROLE, ATTR_PROVIDER, ATTRIBUTES } from '../../otel/semconv.ts'
import { eventOfSpan } from '../../src/diagnose/event-of-span.ts'
import type { EventStep, GatewatchEvent } from '../../src/domain/events.ts'
import {
  attributesOfEvent,
  attributesOfStep,
  type EventSpan,
  FIELD_ATTRIBUTES,
  STEP_EVENTS,
  spanNameOf,
} from '../../src/telemetry/event-span.ts'

const BASE = {
  startMs: 1_000,
  durationMs: 20,
  traceId: 'a'.repeat(32),
  spanId: 'b'.repeat(16),
  parentSpanId: 'c'.repeat(16),
  links: [{ traceId: 'd'.repeat(32), spanId: 'e'.repeat(16) }],
  caller: {
    label: 'src/a.ts#f',
    kind: 'code',
    stackId: '0123456789ab',
    function: 'f',
    file: 'src/a.ts',
    line: 3,
    column: 7,
    stack: 'f (src/a.ts:3:7)',
  },
  provider: 'openai',
  profile: 'main',
  isError: true,
  errorType: 'invalidated',
  standsFor: 1,
  process: undefined,
} as const

const EVENTS: readonly GatewatchEvent[] = [
  {
    ...BASE,
    kind: 'token_request',
    grant: 'refresh',
    reason: 'expired',
    via: 'bypass',
    policy: 'observe',
    gateSeen: true,
    outcome: 'invalidated',
    replay: true,
    refreshFingerprintBefore: '0123456789ab',
    requestEncoding: 'form',
    requestFields: 'client_id=text grant_type=refresh_token',
    httpStatus: 400,
    retryAfterS: 3,
    clockSkewS: -2,
    steps: [
      { name: 'bypass', atMs: 1_000 },
      { name: 'joined', atMs: 1_001, caller: { label: 'src/b.ts#g', kind: 'code', line: 4 } },
    ],
  },
  { ...BASE, kind: 'token_request', grant: 'other', reason: 'unknown', via: 'undeclared', steps: [] },
  { ...BASE, kind: 'token_request', grant: 'unknown', reason: 'unknown', via: 'uncertain', uncertainty: 'grant_unknown', steps: [] },
  { ...BASE, kind: 'acquire', reason: 'rejected', decision: 'join', outcome: 'rotated', rejectedFingerprint: '0123456789ab', steps: [] },
  {
    ...BASE,
    kind: 'call',
    protocol: 'responses',
    model: 'gpt-5.5',
    stream: true,
    attempts: 2,
    preferredProfile: 'main',
    billing: 'metered',
    billingChanged: true,
    outcome: 'aborted',
    standsFor: 12,
    steps: [{ name: 'fallback', atMs: 1_002, fallbackFrom: 'main', fallbackTo: 'key', fallbackReason: 'needs_login' }],
  },
  {
    ...BASE,
    kind: 'attempt',
    outcome: 'rate_limit',
    genaiOperation: 'chat',
    model: 'gpt-5.5',
    attemptIndex: 0,
    timeToFirstChunkS: 0.25,
    steps: [],
  },
  { ...BASE, kind: 'login', operation: 'exchange', outcome: 'denied', loginMethod: 'paste', steps: [] },
  { ...BASE, kind: 'login', operation: 'device', outcome: 'expired', devicePolls: 4, steps: [] },
  { ...BASE, kind: 'import', importSource: 'codex', dryRun: true, importCounts: { imported: 2, exists: 0 }, steps: [] },
  { ...BASE, kind: 'probe', outcome: 'auth', steps: [] },
  { ...BASE, kind: 'side_channel', channel: 'socket', serverAddress: 'auth.openai.com', steps: [] },
  { ...BASE, kind: 'inbound', httpMethod: 'POST', httpRoute: '/v1/responses', httpStatus: 503, steps: [] },
]

describe('an event', () => {
  it.each(EVENTS.map(event => [spanNameOf(event), event] as const))('comes back as it was from its span %s', (_name, event) => {
    expect(eventOfSpan(spanOf(event))).toEqual(event)
  })

  it('leaves out what is not known', () => {
    const { provider: _provider, profile: _profile, ...rest } = BASE
    const event: GatewatchEvent = { ...rest, kind: 'probe', outcome: 'ok', provider: undefined, steps: [] }
    expect(Object.keys(attributesOfEvent(event))).not.toContain(ATTR_PROVIDER)
  })

  it('says of a failed token request alone whether a retry can help', () => {
    const [failed] = EVENTS as readonly [GatewatchEvent, ...GatewatchEvent[]]
    expect(attributesOfEvent(failed)[ATTR_PERMANENT]).toBe(true)
    expect(attributesOfEvent({ ...failed, outcome: 'rotated' } as GatewatchEvent)).not.toHaveProperty(ATTR_PERMANENT)
  })

  it('is not read from the span of another library', () => {
    expect(eventOfSpan({ ...spanOf(EVENTS[0] as GatewatchEvent), name: 'GET', kind: 'client', attributes: {} })).toBeUndefined()
  })
})

describe('the attributes of events', () => {
  it('are all of telemetry, each in one field', () => {
    const ofFields = Object.values(FIELD_ATTRIBUTES)
    expect(new Set(ofFields).size).toBe(ofFields.length)
    const structural = new Set<string>([ATTR_PERMANENT, ATTR_PROCESS_ROLE, ...Object.values(ATTR_IMPORT_COUNTS)])
    const unused = Object.keys(ATTRIBUTES).filter(name => !ofFields.includes(name) && !structural.has(name))
    // What is left says how an event ended, or who its caller is.
    expect(unused.sort()).toEqual(
      [
        'code.column.number',
        'code.file.path',
        'code.function.name',
        'code.line.number',
        'code.stacktrace',
        'gatewatch.attempt.outcome',
        'gatewatch.caller',
        'gatewatch.caller.kind',
        'gatewatch.caller.stack_id',
        'gatewatch.operation.outcome',
        'gatewatch.outcome',
        'gatewatch.probe.outcome',
      ].sort(),
    )
    expect(ofFields.filter(name => !Object.hasOwn(ATTRIBUTES, name))).toEqual([])
  })
})

function spanOf(event: GatewatchEvent): EventSpan {
  const { traceId, spanId, parentSpanId, startMs, durationMs, links, isError, process, steps } = event
  return {
    ...{ traceId, spanId, parentSpanId, startMs, durationMs, links, process },
    name: spanNameOf(event) ?? '',
    kind: event.kind === 'inbound' ? 'server' : 'client',
    status: isError ? 'error' : 'unset',
    attributes: attributesOfEvent(event),
    events: steps.map((step: EventStep) => ({ name: STEP_EVENTS[step.name], atMs: step.atMs, attributes: attributesOfStep(step) })),
  }
}
