import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { type Decoded, decodeMessage } from './otlp-decoder.ts'

export type ReceivedAttributes = Readonly<Record<string, unknown>>

export interface ReceivedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly name: string
  readonly kind: number
  readonly attributes: ReceivedAttributes
  readonly events: readonly { name: string; attributes: ReceivedAttributes }[]
  readonly links: readonly { traceId: string; spanId: string; attributes: ReceivedAttributes }[]
  readonly status: { code: number; message: string }
  readonly resource: ReceivedAttributes
}

export interface ReceivedPoint {
  readonly attributes: ReceivedAttributes
  /** Of a counter or gauge; of a histogram its sum. */
  readonly value: number
  readonly count?: number
  readonly bucketCounts?: readonly number[]
  readonly bounds?: readonly number[]
  /** Of a histogram. */
  readonly exemplars?: readonly { value: number; traceId: string /** Epoch ms. */; at: number }[]
}

export interface ReceivedMetric {
  readonly name: string
  readonly unit: string
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly points: readonly ReceivedPoint[]
  readonly resource: ReceivedAttributes
}

export interface OtlpReceiver {
  /** What `OTEL_EXPORTER_OTLP_ENDPOINT` wants. */
  readonly url: string
  /** Every span received so far. */
  spans(): readonly ReceivedSpan[]
  /** The metrics of the last export. */
  metrics(): readonly ReceivedMetric[]
  /** The metrics of every export, one after the other: of several processes the last export is that of one. */
  allMetrics(): readonly ReceivedMetric[]
  /** Everything received, as text, for searching. */
  text(): string
  stop(): Promise<void>
}

export interface OtlpReceiverOptions {
  /** Address of another OTLP/HTTP receiver that gets each request as well, and whose status is the answer. */
  readonly forwardTo?: string
}

/** A real OTLP/HTTP receiver on loopback: protobuf or JSON, gzip or plain. */
export async function startOtlpReceiver({ forwardTo }: OtlpReceiverOptions = {}): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = []
  const bodies: string[] = []
  let metrics: ReceivedMetric[] = []
  const allMetrics: ReceivedMetric[] = []
  const server = createServer((request, response) => {
    readBody(request)
      .then(async body => {
        bodies.push(body.toString('latin1'))
        if (request.url === '/v1/traces') spans.push(...toSpans(decode(request, body, 'TracesRequest')))
        else if (request.url === '/v1/metrics') {
          metrics = toMetrics(decode(request, body, 'MetricsRequest'))
          allMetrics.push(...metrics)
        } else return answer(response, 404)
        return answer(response, forwardTo === undefined ? 200 : await forward(`${forwardTo}${request.url}`, request, body))
      })
      .catch(() => answer(response, 400))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: () => spans,
    metrics: () => metrics,
    allMetrics: () => allMetrics,
    text: () => `${bodies.join('\n')}\n${JSON.stringify(spans)}\n${JSON.stringify(metrics)}`,
    stop: async () => {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  return request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
}

/** @returns The status of the receiver behind this one. */
async function forward(url: string, { headers }: IncomingMessage, body: Buffer): Promise<number> {
  const passed = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': headers['content-type'] ?? '' },
    body: new Uint8Array(body),
  })
  await passed.arrayBuffer()
  return passed.status
}

function decode(request: IncomingMessage, body: Buffer, name: 'TracesRequest' | 'MetricsRequest'): Decoded {
  const isJson = request.headers['content-type']?.startsWith('application/json')
  return isJson ? (JSON.parse(body.toString('utf8')) as Decoded) : decodeMessage(name, body)
}

function answer(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'content-type': 'application/x-protobuf' }).end()
}

function toSpans(request: Decoded): ReceivedSpan[] {
  return many(request, 'resourceSpans').flatMap(group =>
    many(group, 'scopeSpans').flatMap(scope =>
      many(scope, 'spans').map(span => ({
        traceId: text(span.traceId),
        spanId: text(span.spanId),
        parentSpanId: text(span.parentSpanId),
        name: text(span.name),
        kind: Number(span.kind ?? 0),
        attributes: attributesOf(span),
        events: many(span, 'events').map(event => ({ name: text(event.name), attributes: attributesOf(event) })),
        links: many(span, 'links').map(link => ({
          traceId: text(link.traceId),
          spanId: text(link.spanId),
          attributes: attributesOf(link),
        })),
        status: { code: Number(one(span, 'status').code ?? 0), message: text(one(span, 'status').message) },
        resource: attributesOf(one(group, 'resource')),
      })),
    ),
  )
}

function toMetrics(request: Decoded): ReceivedMetric[] {
  return many(request, 'resourceMetrics').flatMap(group =>
    many(group, 'scopeMetrics').flatMap(scope =>
      many(scope, 'metrics').map(metric => {
        const kind = metric.histogram ? 'histogram' : metric.sum ? 'counter' : 'gauge'
        return {
          name: text(metric.name),
          unit: text(metric.unit),
          kind,
          points: many(one(metric, kind === 'counter' ? 'sum' : kind), 'dataPoints').map(toPoint),
          resource: attributesOf(one(group, 'resource')),
        }
      }),
    ),
  )
}

function toPoint(point: Decoded): ReceivedPoint {
  const attributes = attributesOf(point)
  if (point.bucketCounts === undefined) return { attributes, value: Number(point.asInt ?? point.asDouble ?? 0) }
  return {
    attributes,
    value: Number(point.sum ?? 0),
    count: Number(point.count ?? 0),
    bucketCounts: (point.bucketCounts as unknown[]).map(Number),
    bounds: ((point.explicitBounds as unknown[] | undefined) ?? []).map(Number),
    exemplars: many(point, 'exemplars').map(({ asDouble, traceId, timeUnixNano }) => ({
      value: Number(asDouble),
      traceId: text(traceId),
      at: Number(timeUnixNano) / 1e6,
    })),
  }
}

function attributesOf(holder: Decoded): ReceivedAttributes {
  return Object.fromEntries(many(holder, 'attributes').map(pair => [text(pair.key), plainValue(one(pair, 'value'))]))
}

function plainValue(value: Decoded): unknown {
  if (value.arrayValue !== undefined) return many(one(value, 'arrayValue'), 'values').map(plainValue)
  if (value.intValue !== undefined) return Number(value.intValue)
  return value.stringValue ?? value.doubleValue ?? value.boolValue
}

function many(holder: Decoded, name: string): Decoded[] {
  return (holder[name] as Decoded[] | undefined) ?? []
}

function one(holder: Decoded, name: string): Decoded {
  return (holder[name] as Decoded | undefined) ?? {}
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
