import { hrTimeToMilliseconds } from '@opentelemetry/core'
import type { ISerializer } from '@opentelemetry/otlp-transformer'
import { AggregationTemporality, type DataPoint, DataPointType, type Histogram, type ResourceMetrics } from '@opentelemetry/sdk-metrics'
import type { Exemplar, MetricStorage } from '../../src/telemetry/metric-storage.ts'

/**
 * OTLP metrics with the exemplars of their histograms.
 *
 * The serializers of `@opentelemetry/otlp-transformer` leave the field `exemplars` of a data point empty
 * (opentelemetry-js#5147). They still write everything else here; the exemplars are then inserted into what they wrote:
 * once for each export, never on the path of a request.
 *
 * Field numbers are those of `opentelemetry/proto/metrics/v1/metrics.proto` 1.x.
 */

export type OtlpEncoding = 'protobuf' | 'json'

/** The exemplars of one histogram data point; empty where it has none. */
type PointExemplars = readonly Exemplar[]

/**
 * Wraps a serializer of OTLP metrics so that histogram data points carry the exemplars of `storage`.
 *
 * Cumulative points repeat the newest exemplar of each bucket. Delta points send each once: the wrapper remembers which it sent,
 * since an exemplar of the very millisecond that divides two points lies within both.
 *
 * @param serializer Of `@opentelemetry/otlp-transformer`; `encoding` is what it writes.
 */
export function withExemplars<Response>(
  serializer: ISerializer<ResourceMetrics, Response>,
  { encoding, storage }: { encoding: OtlpEncoding; storage: MetricStorage },
): ISerializer<ResourceMetrics, Response> {
  const sent = new WeakSet<Exemplar>()
  return {
    serializeRequest: request => {
      const bytes = serializer.serializeRequest(request)
      const exemplars = exemplarsIn(request, storage, sent)
      if (!bytes || exemplars.every(({ length }) => length === 0)) return bytes
      return encoding === 'json' ? insertIntoJson(bytes, exemplars) : insertIntoProtobuf(bytes, exemplars)
    },
    deserializeResponse: data => serializer.deserializeResponse(data),
  }
}

/** The exemplars of every histogram data point, in the order in which the points are written. */
function exemplarsIn({ scopeMetrics }: ResourceMetrics, storage: MetricStorage, sent: WeakSet<Exemplar>): PointExemplars[] {
  return scopeMetrics
    .flatMap(({ metrics }) => metrics)
    .flatMap(metric => (metric.dataPointType === DataPointType.HISTOGRAM ? [metric] : []))
    .flatMap(({ aggregationTemporality, dataPoints }) =>
      dataPoints.map(point => {
        const exemplars = exemplarsOf(point, storage)
        if (aggregationTemporality !== AggregationTemporality.DELTA) return exemplars
        const unsent = exemplars.filter(exemplar => !sent.has(exemplar))
        for (const exemplar of unsent) sent.add(exemplar)
        return unsent
      }),
    )
}

function exemplarsOf({ attributes, endTime }: DataPoint<Histogram>, storage: MetricStorage): PointExemplars {
  const until = hrTimeToMilliseconds(endTime)
  // A slot of the list is a bucket; a bucket nothing sampled fell into leaves a hole.
  return Array.from(storage.exemplarsOf(attributes)).filter(exemplar => exemplar !== undefined && exemplar.at <= until) as Exemplar[]
}

interface JsonRequest {
  readonly resourceMetrics: readonly {
    readonly scopeMetrics: readonly {
      readonly metrics: readonly { readonly histogram?: { readonly dataPoints: { exemplars?: unknown }[] } }[]
    }[]
  }[]
}

function insertIntoJson(bytes: Uint8Array, exemplars: readonly PointExemplars[]): Uint8Array {
  const request = JSON.parse(Buffer.from(bytes).toString('utf8')) as JsonRequest
  const points = request.resourceMetrics
    .flatMap(({ scopeMetrics }) => scopeMetrics)
    .flatMap(({ metrics }) => metrics)
    .flatMap(({ histogram }) => histogram?.dataPoints ?? [])
  for (const [index, point] of points.entries())
    point.exemplars = exemplars[index]?.map(({ value, traceId, at }) => ({
      timeUnixNano: nanoseconds(at).toString(),
      asDouble: value,
      traceId,
    }))
  return Buffer.from(JSON.stringify(request))
}

const LENGTH_DELIMITED = 2
/** Fields that lead from a request to a histogram data point: resource_metrics, scope_metrics, metrics, histogram, data_points. */
const PATH_TO_POINTS = [1, 2, 2, 9, 1] as const
const FIELD_EXEMPLARS = 8

function insertIntoProtobuf(bytes: Uint8Array, exemplars: readonly PointExemplars[]): Uint8Array {
  let written = 0
  const rewrite = (message: Buffer, depth: number): Buffer => {
    if (depth === PATH_TO_POINTS.length) {
      const own = exemplars[written] ?? []
      written += 1
      return Buffer.concat([message, ...own.map(exemplar => lengthDelimited(FIELD_EXEMPLARS, encodeExemplar(exemplar)))])
    }
    return Buffer.concat(
      fieldsOf(message).map(({ number, content, whole }) =>
        content && number === PATH_TO_POINTS[depth] ? lengthDelimited(number, rewrite(content, depth + 1)) : whole,
      ),
    )
  }
  return rewrite(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0)
}

interface ProtobufField {
  readonly number: number
  /** Of a length-delimited field. */
  readonly content: Buffer | undefined
  /** The field as it stands, with its tag. */
  readonly whole: Buffer
}

/** @throws {RangeError} when `message` is no protobuf message. */
function fieldsOf(message: Buffer): ProtobufField[] {
  const fields: ProtobufField[] = []
  let at = 0
  while (at < message.length) {
    const tag = readVarint(message, at)
    const [number, wireType] = [Math.floor(tag.value / 8), tag.value % 8]
    const length = wireType === LENGTH_DELIMITED ? readVarint(message, tag.next) : undefined
    const end = length ? length.next + length.value : endOfNumber(message, tag.next, wireType)
    if (end > message.length) throw new RangeError('a protobuf field is cut off')
    fields.push({ number, content: length && message.subarray(length.next, end), whole: message.subarray(at, end) })
    at = end
  }
  return fields
}

function endOfNumber(message: Buffer, from: number, wireType: number): number {
  switch (wireType) {
    case 0:
      return readVarint(message, from).next
    case 1:
      return from + 8
    case 5:
      return from + 4
    default:
      throw new RangeError(`protobuf wire type ${wireType} is not used in OTLP`)
  }
}

/** Exact up to 2^53; tags and lengths stay far below. */
function readVarint(message: Buffer, from: number): { value: number; next: number } {
  let value = 0
  for (let at = from; at < message.length; at += 1) {
    const byte = message.readUInt8(at)
    value += (byte & 127) * 2 ** (7 * (at - from))
    if (byte < 128) return { value, next: at + 1 }
  }
  throw new RangeError('a protobuf number is cut off')
}

/** `Exemplar`: time_unix_nano (2), as_double (3), trace_id (5). */
function encodeExemplar({ value, traceId, at }: Exemplar): Buffer {
  const numbers = Buffer.alloc(18)
  numbers.writeUInt8((2 << 3) | 1, 0)
  numbers.writeBigUInt64LE(nanoseconds(at), 1)
  numbers.writeUInt8((3 << 3) | 1, 9)
  numbers.writeDoubleLE(value, 10)
  return Buffer.concat([numbers, lengthDelimited(5, Buffer.from(traceId, 'hex'))])
}

function lengthDelimited(field: number, content: Buffer): Buffer {
  return Buffer.concat([varint((field << 3) | LENGTH_DELIMITED), varint(content.length), content])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

function nanoseconds(epochMs: number): bigint {
  return BigInt(Math.round(epochMs)) * 1_000_000n
}
