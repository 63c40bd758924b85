import type { Attributes } from '@opentelemetry/api'
import { ATTR_PROCESS_ROLE, ATTRIBUTES } from '../../otel/semconv.ts'
import { PROCESS_ROLES } from '../domain/enums.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { AttributeRedactor } from '../telemetry/redaction-attributes.ts'
import { isJsonObject } from '../tools/json-object.ts'
import type { InputProcess, PlainEvent, PlainSpan } from './input-span.ts'

type Json = Readonly<Record<string, unknown>>

const NEWLINE = 10
const STATUSES = ['unset', 'ok', 'error'] as const
/** Attributes of a resource that tell processes apart (OpenTelemetry's own names). */
const RESOURCE = { pid: 'process.pid', service: 'service.name', instance: 'service.instance.id' } as const

/**
 * Reads the spans of a file in OTLP JSON (opentelemetry-proto 1.x, JSON encoding): one message, or one a line as the
 * collector's file exporter writes it. Attributes go through the same screen as our own spans: a file may come from anywhere.
 *
 * @throws {GatewayError} `GW_CONFIG` when the file is empty, is something else, or holds no span of Gatewatch.
 */
export function otlpSpans(path: string, bytes: Buffer): PlainSpan[] {
  const screen = new AttributeRedactor()
  const spans: PlainSpan[] = []
  let others = 0
  for (const message of messagesIn(path, bytes))
    for (const found of spansIn(message, screen)) {
      if (found) spans.push(found)
      else others += 1
    }
  if (spans.length === 0)
    throw notForUs(path, others === 0 ? 'holds no span' : `holds ${others} spans, none of which carries an attribute of Gatewatch`)
  return spans
}

function* messagesIn(path: string, bytes: Buffer): Generator<Json> {
  if (bytes.every(byte => byte === NEWLINE || byte === 32 || byte === 13 || byte === 9)) throw notForUs(path, 'is empty')
  const lines = [...linesOf(bytes)]
  const [first] = lines
  // One message may be spread over many lines; of several, each has a line of its own.
  if (first && parsed(first) === undefined) {
    const whole = parsed(bytes)
    if (whole === undefined) throw notForUs(path, 'is neither a recorder file nor JSON')
    yield whole
    return
  }
  for (const [index, line] of lines.entries()) {
    const message = parsed(line)
    // The last line of a file that is still written, or of one that was cut, may be half a message.
    if (message === undefined && index < lines.length - 1) throw notForUs(path, `is no JSON in line ${index + 1}`)
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
function* spansIn(message: Json, screen: AttributeRedactor): Generator<PlainSpan | undefined> {
  // Tempo's API calls the same thing `batches`.
  for (const resourceSpans of [...objects(message.resourceSpans), ...objects(message.batches)]) {
    const process = processOf(resourceSpans.resource)
    for (const scopeSpans of [...objects(resourceSpans.scopeSpans), ...objects(resourceSpans.instrumentationLibrarySpans)])
      for (const span of objects(scopeSpans.spans)) yield plainSpan(span, process, screen)
  }
}

function plainSpan(span: Json, process: InputProcess | undefined, screen: AttributeRedactor): PlainSpan | undefined {
  const given = attributesOf(span.attributes)
  const { attributes } = screen.attributes(given)
  if (!Object.keys(given).some(name => Object.hasOwn(ATTRIBUTES, name))) return undefined
  const startMs = milliseconds(span.startTimeUnixNano)
  const parentSpanId = idOf(span.parentSpanId, 16)
  return {
    traceId: idOf(span.traceId, 32) ?? '',
    spanId: idOf(span.spanId, 16) ?? '',
    parentSpanId,
    name: screen.name(typeof span.name === 'string' ? span.name : ''),
    startMs,
    durationMs: Math.max(0, milliseconds(span.endTimeUnixNano) - startMs),
    status: statusOf(span.status),
    attributes,
    events: objects(span.events).map(
      (event): PlainEvent => ({
        name: screen.name(String(event.name)),
        atMs: milliseconds(event.timeUnixNano),
        attributes: screen.attributes(attributesOf(event.attributes)).attributes,
      }),
    ),
    links: objects(span.links).map(link => ({ traceId: idOf(link.traceId, 32) ?? '', spanId: idOf(link.spanId, 16) ?? '' })),
    ...(process && { process }),
  }
}

function processOf(resource: unknown): InputProcess | undefined {
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

function statusOf(status: unknown): PlainSpan['status'] {
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

function notForUs(path: string, why: string): GatewayError {
  const message = `${path} ${why}: name a recorder.sqlite of Gatewatch, or a file of traces in OTLP JSON. It is left as it is`
  return new GatewayError('GW_CONFIG', message, { next: 'fix_configuration' })
}
