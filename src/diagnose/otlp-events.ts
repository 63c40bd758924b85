import type { Attributes } from '@opentelemetry/api'
import { ATTR_PROCESS_ROLE, ATTRIBUTES } from '../../otel/semconv.ts'
import { PROCESS_ROLES } from '../domain/enums.ts'
import type { EventProcess, GatewatchEvent } from '../domain/events.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import type { EventSpan } from '../telemetry/event-span.ts'
import { AttributeRedactor } from '../telemetry/redaction-attributes.ts'
import { isJsonObject } from '../tools/json-object.ts'
import { eventOfSpan } from './event-of-span.ts'

type Json = Readonly<Record<string, unknown>>

const NEWLINE = 10
const STATUSES = ['unset', 'ok', 'error'] as const
const KINDS = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const
/** Attributes of a resource that distinguish processes (OpenTelemetry's own names). */
const RESOURCE = { pid: 'process.pid', service: 'service.name', instance: 'service.instance.id' } as const

/**
 * Reads the events of a file in OTLP JSON (opentelemetry-proto 1.x, JSON encoding): one message, or one a line as the
 * collector's file exporter writes it. Attributes are redacted as those of our own spans are: the file may come from anywhere.
 *
 * @throws {GatewayError} `GW_CONFIG` when the file is empty, is something else, or holds no span of Gatewatch.
 */
export function otlpEvents(path: string, bytes: Buffer): GatewatchEvent[] {
  const redactor = new AttributeRedactor()
  const events: GatewatchEvent[] = []
  let others = 0
  for (const message of messagesIn(path, bytes))
    for (const span of spansIn(message, redactor)) {
      const event = span && eventOfSpan(span)
      if (event) events.push(event)
      else others += 1
    }
  if (events.length === 0)
    throw notReadable(path, others === 0 ? 'holds no span' : `holds ${others} spans, none of which carries an attribute of Gatewatch`)
  return events
}

function* messagesIn(path: string, bytes: Buffer): Generator<Json> {
  if (bytes.every(byte => byte === NEWLINE || byte === 32 || byte === 13 || byte === 9)) throw notReadable(path, 'is empty')
  const lines = [...linesOf(bytes)]
  const [first] = lines
  // One message may be spread over many lines; of several, each has a line of its own.
  if (first && parsed(first) === undefined) {
    const whole = parsed(bytes)
    if (whole === undefined) throw notReadable(path, 'is neither an event store nor JSON')
    yield whole
    return
  }
  for (const [index, line] of lines.entries()) {
    const message = parsed(line)
    // The last line of a file that is still written, or of one that was cut, may be half a message.
    if (message === undefined && index < lines.length - 1) throw notReadable(path, `is no JSON in line ${index + 1}`)
    if (message !== undefined) yield message
  }
}

function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, from)
    const line = bytes.subarray(from, end < 0 ? bytes.length : end)
    if (line.some(byte => byte > 32)) yield line
    from = (end < 0 ? bytes.length : end) + 1
  }
}

/** A JSON object, or `undefined`; the parser's own words would quote the file. */
function parsed(bytes: Buffer): Json | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Spans of a message; `undefined` for each that is not ours. */
function* spansIn(message: Json, redactor: AttributeRedactor): Generator<EventSpan | undefined> {
  // Tempo's API calls the same thing `batches`.
  for (const resourceSpans of [...objects(message.resourceSpans), ...objects(message.batches)]) {
    const process = processOf(resourceSpans.resource)
    for (const scopeSpans of [...objects(resourceSpans.scopeSpans), ...objects(resourceSpans.instrumentationLibrarySpans)])
      for (const span of objects(scopeSpans.spans)) yield eventSpan(span, process, redactor)
  }
}

function eventSpan(span: Json, process: EventProcess | undefined, redactor: AttributeRedactor): EventSpan | undefined {
  const given = attributesOf(span.attributes)
  const { attributes } = redactor.attributes(given)
  if (!Object.keys(given).some(name => Object.hasOwn(ATTRIBUTES, name))) return undefined
  const startMs = milliseconds(span.startTimeUnixNano)
  const parentSpanId = idOf(span.parentSpanId, 16)
  return {
    traceId: idOf(span.traceId, 32) ?? '',
    spanId: idOf(span.spanId, 16) ?? '',
    parentSpanId,
    name: redactor.name(typeof span.name === 'string' ? span.name : ''),
    kind: kindOf(span.kind),
    startMs,
    durationMs: Math.max(0, milliseconds(span.endTimeUnixNano) - startMs),
    status: statusOf(span.status),
    attributes,
    events: objects(span.events).map(event => ({
      name: redactor.name(String(event.name)),
      atMs: milliseconds(event.timeUnixNano),
      attributes: redactor.attributes(attributesOf(event.attributes)).attributes,
    })),
    links: objects(span.links).map(link => ({ traceId: idOf(link.traceId, 32) ?? '', spanId: idOf(link.spanId, 16) ?? '' })),
    ...(process && { process }),
  }
}

function processOf(resource: unknown): EventProcess | undefined {
  const given = attributesOf(isJsonObject(resource) ? resource.attributes : undefined)
  const { [RESOURCE.pid]: pid, [RESOURCE.service]: title, [RESOURCE.instance]: host, [ATTR_PROCESS_ROLE]: role } = given
  if (typeof pid !== 'number') return undefined
  return {
    pid,
    role: PROCESS_ROLES.find(word => word === role) ?? 'unknown',
    title: typeof title === 'string' ? title.slice(0, 80) : '',
    host: typeof host === 'string' ? host : '',
  }
}

function attributesOf(list: unknown): Attributes {
  return Object.fromEntries(
    objects(list).flatMap(({ key, value }) => {
      const plain = isJsonObject(value) ? plainValue(value) : undefined
      return typeof key === 'string' && plain !== undefined ? [[key, plain]] : []
    }),
  )
}

/** 64-bit numbers are texts in OTLP JSON. */
function plainValue({ stringValue, intValue, doubleValue, boolValue }: Json): string | number | boolean | undefined {
  if (typeof stringValue === 'string') return stringValue
  if (typeof boolValue === 'boolean') return boolValue
  const number = intValue ?? doubleValue
  return typeof number === 'number' || (typeof number === 'string' && number !== '') ? Number(number) : undefined
}

function kindOf(kind: unknown): EventSpan['kind'] {
  return (typeof kind === 'number' ? KINDS[kind] : KINDS.find(word => kind === `SPAN_KIND_${word.toUpperCase()}`)) ?? 'internal'
}

function statusOf(status: unknown): EventSpan['status'] {
  const code = isJsonObject(status) ? status.code : undefined
  if (typeof code === 'number') return STATUSES[code] ?? 'unset'
  return code === 'STATUS_CODE_ERROR' ? 'error' : code === 'STATUS_CODE_OK' ? 'ok' : 'unset'
}

/** Ids are hex in OTLP JSON, and base64 in what Tempo answers. */
function idOf(id: unknown, digits: number): string | undefined {
  if (typeof id !== 'string' || id === '') return undefined
  return id.length === digits && /^[0-9a-f]+$/i.test(id) ? id.toLowerCase() : Buffer.from(id, 'base64').toString('hex')
}

function milliseconds(nanoseconds: unknown): number {
  return Number(nanoseconds ?? 0) / 1_000_000
}

function objects(list: unknown): Json[] {
  return Array.isArray(list) ? list.filter(isJsonObject) : []
}

function notReadable(path: string, why: string): GatewayError {
  const message = `${path} ${why}: name an events.sqlite of Gatewatch, or a file of traces in OTLP JSON. The file was not changed`
  return new GatewayError('GW_CONFIG', message, { next: 'fix_configuration' })
}
