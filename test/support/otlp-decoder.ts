/**
 * Reads OTLP as exporters send it: protobuf by its wire format, with the fields of `opentelemetry-proto` 1.x that matter
 * here. Unknown fields are skipped, as protobuf asks. Names are those of OTLP's JSON.
 */
type Kind =
  | 'text'
  | 'hex'
  | 'varint'
  | 'bool'
  | 'int64'
  | 'double'
  | 'fixed64'
  | 'sfixed64'
  | 'fixed32'
  | 'fixed64s'
  | 'doubles'
  | MessageName
interface Field {
  readonly name: string
  readonly kind: Kind
  readonly many?: true
}
type Message = Readonly<Record<number, Field>>
export type MessageName = keyof typeof MESSAGES
/** A decoded message. */
export type Decoded = { [name: string]: unknown }

const KEY_VALUES = { name: 'attributes', kind: 'KeyValue', many: true } as const

const MESSAGES = {
  KeyValue: { 1: { name: 'key', kind: 'text' }, 2: { name: 'value', kind: 'AnyValue' } },
  AnyValue: {
    1: { name: 'stringValue', kind: 'text' },
    2: { name: 'boolValue', kind: 'bool' },
    3: { name: 'intValue', kind: 'int64' },
    4: { name: 'doubleValue', kind: 'double' },
    5: { name: 'arrayValue', kind: 'ArrayValue' },
  },
  ArrayValue: { 1: { name: 'values', kind: 'AnyValue', many: true } },
  Resource: { 1: KEY_VALUES },
  Scope: { 1: { name: 'name', kind: 'text' }, 2: { name: 'version', kind: 'text' } },

  TracesRequest: { 1: { name: 'resourceSpans', kind: 'ResourceSpans', many: true } },
  ResourceSpans: { 1: { name: 'resource', kind: 'Resource' }, 2: { name: 'scopeSpans', kind: 'ScopeSpans', many: true } },
  ScopeSpans: { 1: { name: 'scope', kind: 'Scope' }, 2: { name: 'spans', kind: 'Span', many: true } },
  Span: {
    1: { name: 'traceId', kind: 'hex' },
    2: { name: 'spanId', kind: 'hex' },
    3: { name: 'traceState', kind: 'text' },
    4: { name: 'parentSpanId', kind: 'hex' },
    5: { name: 'name', kind: 'text' },
    6: { name: 'kind', kind: 'varint' },
    7: { name: 'startTimeUnixNano', kind: 'fixed64' },
    8: { name: 'endTimeUnixNano', kind: 'fixed64' },
    9: KEY_VALUES,
    10: { name: 'droppedAttributesCount', kind: 'varint' },
    11: { name: 'events', kind: 'Event', many: true },
    13: { name: 'links', kind: 'Link', many: true },
    15: { name: 'status', kind: 'Status' },
    16: { name: 'flags', kind: 'fixed32' },
  },
  Event: { 1: { name: 'timeUnixNano', kind: 'fixed64' }, 2: { name: 'name', kind: 'text' }, 3: KEY_VALUES },
  Link: {
    1: { name: 'traceId', kind: 'hex' },
    2: { name: 'spanId', kind: 'hex' },
    3: { name: 'traceState', kind: 'text' },
    4: KEY_VALUES,
  },
  Status: { 2: { name: 'message', kind: 'text' }, 3: { name: 'code', kind: 'varint' } },

  MetricsRequest: { 1: { name: 'resourceMetrics', kind: 'ResourceMetrics', many: true } },
  ResourceMetrics: { 1: { name: 'resource', kind: 'Resource' }, 2: { name: 'scopeMetrics', kind: 'ScopeMetrics', many: true } },
  ScopeMetrics: { 1: { name: 'scope', kind: 'Scope' }, 2: { name: 'metrics', kind: 'Metric', many: true } },
  Metric: {
    1: { name: 'name', kind: 'text' },
    2: { name: 'description', kind: 'text' },
    3: { name: 'unit', kind: 'text' },
    5: { name: 'gauge', kind: 'Gauge' },
    7: { name: 'sum', kind: 'Sum' },
    9: { name: 'histogram', kind: 'Histogram' },
  },
  Gauge: { 1: { name: 'dataPoints', kind: 'NumberPoint', many: true } },
  Sum: {
    1: { name: 'dataPoints', kind: 'NumberPoint', many: true },
    2: { name: 'aggregationTemporality', kind: 'varint' },
    3: { name: 'isMonotonic', kind: 'bool' },
  },
  Histogram: {
    1: { name: 'dataPoints', kind: 'HistogramPoint', many: true },
    2: { name: 'aggregationTemporality', kind: 'varint' },
  },
  NumberPoint: { 4: { name: 'asDouble', kind: 'double' }, 6: { name: 'asInt', kind: 'sfixed64' }, 7: KEY_VALUES },
  HistogramPoint: {
    4: { name: 'count', kind: 'fixed64' },
    5: { name: 'sum', kind: 'double' },
    6: { name: 'bucketCounts', kind: 'fixed64s' },
    7: { name: 'explicitBounds', kind: 'doubles' },
    8: { name: 'exemplars', kind: 'Exemplar', many: true },
    9: KEY_VALUES,
  },
  Exemplar: {
    2: { name: 'timeUnixNano', kind: 'fixed64' },
    3: { name: 'asDouble', kind: 'double' },
    5: { name: 'traceId', kind: 'hex' },
  },
} as const satisfies Record<string, Readonly<Record<number, { name: string; kind: string; many?: true }>>>

const VARINT = 0
const EIGHT_BYTES = 1
const BYTES = 2
const FOUR_BYTES = 5

/** Decodes one protobuf message. @throws {RangeError} when the bytes are no protobuf. */
export function decodeMessage(name: MessageName, bytes: Buffer): Decoded {
  const fields = MESSAGES[name] as Message
  const decoded: Decoded = {}
  let at = 0
  while (at < bytes.length) {
    const tag = readVarint(bytes, at)
    const number = Number(tag.value)
    const value = readValue(bytes, tag.next, number & 7)
    at = value.next
    const field = fields[number >>> 3]
    if (!field) continue
    const plain = toPlain(field.kind, value.raw)
    const others = decoded[field.name]
    if (!field.many) decoded[field.name] = plain
    else if (Array.isArray(others)) others.push(plain)
    else decoded[field.name] = [plain]
  }
  return decoded
}

function readVarint(bytes: Buffer, from: number): { value: bigint; next: number } {
  // Most are lengths and tags of one byte.
  const first = bytes[from] ?? 128
  if (first < 128) return { value: BigInt(first), next: from + 1 }
  let value = 0n
  let shift = 0n
  for (let at = from; at < bytes.length; at += 1) {
    const byte = BigInt(bytes.readUInt8(at))
    value |= (byte & 127n) << shift
    if (byte < 128n) return { value, next: at + 1 }
    shift += 7n
  }
  throw new RangeError('a number is cut off')
}

function readValue(bytes: Buffer, from: number, wireType: number): { raw: bigint | Buffer; next: number } {
  if (wireType === VARINT) {
    const { value, next } = readVarint(bytes, from)
    return { raw: value, next }
  }
  let start = from
  let length = wireType === EIGHT_BYTES ? 8 : 4
  if (wireType === BYTES) {
    const size = readVarint(bytes, from)
    start = size.next
    length = Number(size.value)
  } else if (wireType !== EIGHT_BYTES && wireType !== FOUR_BYTES) throw new RangeError(`wire type ${wireType} is not used in OTLP`)
  if (start + length > bytes.length) throw new RangeError('a field is cut off')
  return { raw: bytes.subarray(start, start + length), next: start + length }
}

function toPlain(kind: Kind, raw: bigint | Buffer): unknown {
  if (typeof raw === 'bigint') {
    if (kind === 'bool') return raw === 1n
    if (kind === 'varint' || kind === 'int64') return Number(BigInt.asIntN(64, raw))
    throw new RangeError(`a number stands where ${kind} was expected`)
  }
  switch (kind) {
    case 'text':
      return raw.toString('utf8')
    case 'hex':
      return raw.toString('hex')
    case 'double':
      return raw.readDoubleLE()
    case 'fixed64':
      return Number(raw.readBigUInt64LE())
    case 'sfixed64':
      return Number(raw.readBigInt64LE())
    case 'fixed32':
      return raw.readUInt32LE()
    case 'fixed64s':
      return Array.from({ length: raw.length / 8 }, (_, index) => Number(raw.readBigUInt64LE(index * 8)))
    case 'doubles':
      return Array.from({ length: raw.length / 8 }, (_, index) => raw.readDoubleLE(index * 8))
    case 'varint':
    case 'bool':
    case 'int64':
      throw new RangeError(`bytes stand where ${kind} was expected`)
    default:
      return decodeMessage(kind, raw)
  }
}
