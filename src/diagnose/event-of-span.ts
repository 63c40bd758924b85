import type { AttributeValue } from '@opentelemetry/api'
import { GENAI_OPERATION_NAME } from '../../otel/genai-semconv.ts'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_IMPORT_COUNTS,
  ATTR_OPERATION_OUTCOME,
  ATTR_REASON,
  ATTR_UNCERTAINTY,
  ATTR_VIA,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_EXCHANGE,
  SPAN_IMPORT,
  SPAN_PROBE,
  SPAN_REFRESH,
  SPAN_SIDE_CHANNEL,
} from '../../otel/semconv.ts'
import { IMPORT_OUTCOMES, type ImportOutcome, OAUTH_OPERATIONS } from '../domain/enums.ts'
import type { EventCaller, EventStep, GatewatchEvent, StepName } from '../domain/events.ts'
import {
  CALLER_ATTRIBUTES,
  type EventSpan,
  FIELD_ATTRIBUTES,
  LOGIN_SPANS,
  OUTCOME_ATTRIBUTES,
  STEP_EVENTS,
} from '../telemetry/event-span.ts'

const STEP_NAMES_BY_EVENT: ReadonlyMap<string, StepName> = new Map(
  Object.entries(STEP_EVENTS).map(([step, event]) => [event, step as StepName]),
)
const FIELDS_BY_ATTRIBUTE: ReadonlyMap<string, string> = new Map(
  Object.entries(FIELD_ATTRIBUTES).map(([field, attribute]) => [attribute, field]),
)
const CALLER_FIELDS_BY_ATTRIBUTE: ReadonlyMap<string, keyof EventCaller> = new Map(
  Object.entries(CALLER_ATTRIBUTES).map(([field, attribute]) => [attribute, field as keyof EventCaller]),
)

/** The event that a span was written from; `undefined` for a span that none of ours is. */
export function eventOfSpan(span: EventSpan): GatewatchEvent | undefined {
  const kind = kindOfSpan(span)
  if (kind === undefined) return undefined
  const fields: Record<string, unknown> = { standsFor: 1 }
  const caller: Record<string, unknown> = { label: 'unknown', kind: 'unknown' }
  for (const [name, value] of Object.entries(span.attributes)) readAttribute(name, value, { fields, caller })
  const outcome = kind in OUTCOME_ATTRIBUTES ? span.attributes[OUTCOME_ATTRIBUTES[kind as keyof typeof OUTCOME_ATTRIBUTES]] : undefined
  return {
    ...fields,
    kind,
    startMs: span.startMs,
    durationMs: span.durationMs,
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    links: span.links.map(({ traceId, spanId }) => ({ traceId, spanId })),
    caller,
    isError: span.status === 'error',
    steps: span.events.flatMap(event => stepOf(event) ?? []),
    process: span.process,
    ...(outcome !== undefined && { outcome }),
    ...ownFields(kind, span),
  } as unknown as GatewatchEvent
}

function kindOfSpan({ name, kind, attributes }: EventSpan): Exclude<GatewatchEvent['kind'], 'config'> | undefined {
  if (name === SPAN_REFRESH) return 'token_request'
  // A code exchange that Gatewatch itself made says how the operation ended; one that was seen going out is a token request.
  if (name === SPAN_EXCHANGE) return attributes[ATTR_OPERATION_OUTCOME] === undefined && attributes[ATTR_VIA] ? 'token_request' : 'login'
  if (name === SPAN_ACQUIRE) return 'acquire'
  if (name === SPAN_CALL) return 'call'
  if (name === SPAN_IMPORT) return 'import'
  if (name === SPAN_PROBE) return 'probe'
  if (name === SPAN_SIDE_CHANNEL) return 'side_channel'
  if (OAUTH_OPERATIONS.some(operation => LOGIN_SPANS[operation] === name)) return 'login'
  if (attributes[ATTR_ATTEMPT_OUTCOME] !== undefined || attributes[GENAI_OPERATION_NAME] !== undefined) return 'attempt'
  return kind === 'server' ? 'inbound' : undefined
}

/** Fields that one kind alone has, or that every event of it has. */
function ownFields(kind: GatewatchEvent['kind'], { name, attributes }: EventSpan): object {
  switch (kind) {
    case 'token_request':
      return {
        grant: name === SPAN_EXCHANGE ? 'other' : attributes[ATTR_UNCERTAINTY] === 'grant_unknown' ? 'unknown' : 'refresh',
        reason: attributes[ATTR_REASON] ?? 'unknown',
        via: attributes[ATTR_VIA] ?? 'gate',
      }
    case 'acquire':
      return { reason: attributes[ATTR_REASON] ?? 'unknown' }
    case 'login':
      return { operation: OAUTH_OPERATIONS.find(operation => LOGIN_SPANS[operation] === name) }
    case 'import':
      return { importCounts: importCountsOf(attributes) }
    default:
      return {}
  }
}

function importCountsOf(attributes: EventSpan['attributes']): Partial<Record<ImportOutcome, number>> {
  return Object.fromEntries(
    IMPORT_OUTCOMES.flatMap(outcome => {
      const count = attributes[ATTR_IMPORT_COUNTS[outcome]]
      return typeof count === 'number' ? [[outcome, count]] : []
    }),
  )
}

function stepOf({ name, atMs, attributes = {} }: EventSpan['events'][number]): EventStep | undefined {
  const step = STEP_NAMES_BY_EVENT.get(name)
  if (!step) return undefined
  const fields: Record<string, unknown> = {}
  const caller: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(attributes)) readAttribute(key, value, { fields, caller })
  return { ...fields, ...(caller.label !== undefined && { caller }), name: step, atMs } as unknown as EventStep
}

function readAttribute(
  name: string,
  value: AttributeValue | undefined,
  { fields, caller }: { fields: Record<string, unknown>; caller: Record<string, unknown> },
): void {
  if (value === undefined) return
  const field = FIELDS_BY_ATTRIBUTE.get(name)
  if (field) fields[field] = value
  const ofCaller = CALLER_FIELDS_BY_ATTRIBUTE.get(name)
  if (ofCaller) caller[ofCaller] = value
}
