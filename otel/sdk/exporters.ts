import { type MeterProvider as ApiMeterProvider, createNoopMeter, diag, type Meter } from '@opentelemetry/api'
import { type ExportResult, ExportResultCode } from '@opentelemetry/core'
import type { Resource } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  ConsoleMetricExporter,
  type IMetricReader,
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics'
import {
  BatchSpanProcessor,
  ConsoleSpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace'
import { type Environment, listOf, positiveNumberOf, variableText } from '../../src/telemetry/environment.ts'
import type { MetricStorage } from '../../src/telemetry/metric-storage.ts'
import type { OnDropped } from '../../src/telemetry/redaction-processor.ts'
import { packageVersion } from '../../src/tools/own-package.ts'
import { ATTR_ERROR_TYPE } from '../semconv.ts'
import { ExportQueue } from './export-queue.ts'
import { type OtlpEncoding, withExemplars } from './otlp-exemplars.ts'
import type { OtlpSignal } from './otlp-options.ts'
import { SeriesProducer } from './series-producer.ts'

const PROTOCOLS = ['http/protobuf', 'http/json', 'grpc'] as const
type OtlpProtocol = (typeof PROTOCOLS)[number]

const OTLP_CONTENT_TYPES: Readonly<Record<OtlpEncoding, string>> = { protobuf: 'application/x-protobuf', json: 'application/json' }
/** As the exporters of OpenTelemetry name themselves in their own metrics. */
const OTLP_METRIC_COMPONENT = 'otlp_http_metric_exporter'
const OTLP_SPAN_COMPONENT = 'otlp_http_span_exporter'

const DEFAULT_INTERVAL_MS = 60_000
const DEFAULT_TIMEOUT_MS = 30_000
const DEFAULT_QUEUE = 2_048
/** Half of what the specification proposes: a batch is written out in one go, and requests wait meanwhile. */
const DEFAULT_BATCH = 256

/**
 * Processors that send spans where the environment says; none when it says nothing.
 *
 * @param onDropped Notified of spans lost in a full queue (`span_queue`) or in a failed export (`export`).
 */
export async function spanProcessorsOf(environment: Environment, onDropped: OnDropped): Promise<SpanProcessor[]> {
  const processors: SpanProcessor[] = []
  for (const name of exportersOf(environment, 'TRACES')) {
    if (name === 'console') processors.push(new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() }))
    else if (name === 'otlp') {
      const exporter = await otlpSpanExporter(environment)
      processors.push(batchProcessor(environment, new CountingExporter(exporter, onDropped), onDropped))
    } else diag.warn(`OTEL_TRACES_EXPORTER=${name} is not supported; use otlp, console or none`)
  }
  return processors
}

/** Readers that send the series of `book` where the environment says; none when it says nothing. */
export async function metricReadersOf(environment: Environment, storage: MetricStorage): Promise<IMetricReader[]> {
  const readers: IMetricReader[] = []
  for (const name of exportersOf(environment, 'METRICS')) {
    if (name === 'console') readers.push(periodicReader(environment, new ConsoleMetricExporter(), storage))
    else if (name === 'otlp') {
      const exporter = await otlpMetricExporter(environment, storage)
      readers.push(periodicReader(environment, exporter, storage))
    } else if (name === 'prometheus') diag.warn('OTEL_METRICS_EXPORTER=prometheus is not needed: /metrics is always there')
    else diag.warn(`OTEL_METRICS_EXPORTER=${name} is not supported; use otlp, console or none`)
  }
  return readers
}

/** Sends the series of `book` where the environment says, by a provider that no other caller sees. */
export async function startMetricExport(
  environment: Environment,
  resource: Resource,
  storage: MetricStorage,
): Promise<{ forceFlush(): Promise<void> }> {
  return new MeterProvider({ resource, readers: await metricReadersOf(environment, storage) })
}

/** The exporters asked for. An endpoint alone asks for OTLP; without either nothing is sent, not even to localhost. */
function exportersOf(environment: Environment, signal: OtlpSignal): string[] {
  const named = listOf(environment, `OTEL_${signal}_EXPORTER`)
  if (named.includes('none')) return []
  if (named.length > 0) return named
  return variableText(environment, `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`, 'OTEL_EXPORTER_OTLP_ENDPOINT') === undefined ? [] : ['otlp']
}

/** The OTLP exporter of spans. What it needs is loaded here: it costs start-up time. */
async function otlpSpanExporter(environment: Environment): Promise<SpanExporter> {
  const protocol = protocolOf(environment, 'TRACES')
  if (protocol === 'grpc') return otlpGrpcSpanExporter(environment)
  const [{ OTLPExporterBase }, { createOtlpHttpExportDelegate }, transformer, { otlpHttpOptions }] = await Promise.all([
    import('@opentelemetry/otlp-exporter-base'),
    import('@opentelemetry/otlp-exporter-base/node-http'),
    import('@opentelemetry/otlp-transformer'),
    import('./otlp-options.ts'),
  ])
  const encoding = encodingOf(protocol)
  const serializer = encoding === 'json' ? transformer.JsonTraceSerializer : transformer.ProtobufTraceSerializer
  const http = otlpHttpOptions(environment, 'TRACES', OTLP_CONTENT_TYPES[encoding])
  const helper = transformer.TraceExporterMetricsHelper
  return new OTLPExporterBase(createOtlpHttpExportDelegate(http, serializer, OTLP_SPAN_COMPONENT, helper, undefined))
}

/** The OTLP exporter of metrics. Over HTTP it sends the exemplars of `book`; gRPC's exporter has no place for them. */
async function otlpMetricExporter(environment: Environment, storage: MetricStorage): Promise<PushMetricExporter> {
  const protocol = protocolOf(environment, 'METRICS')
  if (protocol === 'grpc') return otlpGrpcMetricExporter(environment)
  const [{ OTLPMetricExporterBase }, { createOtlpHttpExportDelegate }, transformer, { otlpHttpOptions, temporalityOf }] = await Promise.all(
    [
      import('@opentelemetry/exporter-metrics-otlp-http'),
      import('@opentelemetry/otlp-exporter-base/node-http'),
      import('@opentelemetry/otlp-transformer'),
      import('./otlp-options.ts'),
    ],
  )
  const encoding = encodingOf(protocol)
  const serializer = encoding === 'json' ? transformer.JsonMetricsSerializer : transformer.ProtobufMetricsSerializer
  const http = otlpHttpOptions(environment, 'METRICS', OTLP_CONTENT_TYPES[encoding])
  const withOurs = withExemplars(serializer, { encoding, storage })
  const helper = transformer.MetricsExporterMetricsHelper
  return new OTLPMetricExporterBase(createOtlpHttpExportDelegate(http, withOurs, OTLP_METRIC_COMPONENT, helper, undefined), {
    temporalityPreference: temporalityOf(environment),
  })
}

/** The exporter of spans over gRPC; it is large, and loaded only where it is asked for. */
async function otlpGrpcSpanExporter(environment: Environment): Promise<SpanExporter> {
  const [{ OTLPTraceExporter }, { otlpGrpcOptions }] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-grpc'),
    import('./otlp-options.ts'),
  ])
  return new OTLPTraceExporter(otlpGrpcOptions(environment, 'TRACES'))
}

/** As `otlpGrpcSpanExporter`, of metrics. */
async function otlpGrpcMetricExporter(environment: Environment): Promise<PushMetricExporter> {
  const [{ OTLPMetricExporter }, { otlpGrpcOptions }] = await Promise.all([
    import('@opentelemetry/exporter-metrics-otlp-grpc'),
    import('./otlp-options.ts'),
  ])
  return new OTLPMetricExporter(otlpGrpcOptions(environment, 'METRICS'))
}

function protocolOf(environment: Environment, signal: OtlpSignal): OtlpProtocol {
  const text = variableText(environment, `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`, 'OTEL_EXPORTER_OTLP_PROTOCOL') ?? 'http/protobuf'
  const protocol = PROTOCOLS.find(known => known === text)
  if (!protocol) diag.warn(`OTLP protocol ${text} is not one of ${PROTOCOLS.join(', ')}; http/protobuf is used`)
  return protocol ?? 'http/protobuf'
}

function encodingOf(protocol: OtlpProtocol): OtlpEncoding {
  return protocol === 'http/json' ? 'json' : 'protobuf'
}

function batchProcessor(environment: Environment, exporter: SpanExporter, onDropped: OnDropped): SpanProcessor {
  const maxQueueSize = positiveNumberOf(environment, 'OTEL_BSP_MAX_QUEUE_SIZE') ?? DEFAULT_QUEUE
  const maxExportBatchSize = positiveNumberOf(environment, 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE') ?? DEFAULT_BATCH
  const scheduledDelayMillis = positiveNumberOf(environment, 'OTEL_BSP_SCHEDULE_DELAY')
  const exportTimeoutMillis = positiveNumberOf(environment, 'OTEL_BSP_EXPORT_TIMEOUT')
  const processor = new BatchSpanProcessor({
    exporter,
    maxQueueSize,
    maxExportBatchSize,
    selfObsMeterProvider: queueWatch(onDropped),
    ...(scheduledDelayMillis && { scheduledDelayMillis }),
    ...(exportTimeoutMillis && { exportTimeoutMillis }),
  })
  return new ExportQueue(processor, maxQueueSize, count => onDropped('span_queue', count))
}

/**
 * Hears from the batch processor how many spans its full queue refused.
 *
 * The processor reports this to its own metrics alone (`otel.sdk.processor.span.processed` with `error.type=queue_full`), so it
 * gets a meter that listens to that counter and to nothing else.
 */
function queueWatch(onDropped: OnDropped): ApiMeterProvider {
  const meter = Object.create(createNoopMeter()) as Meter
  meter.createCounter = () => ({
    add: (count, attributes) => {
      if ((attributes as Record<string, unknown> | undefined)?.[ATTR_ERROR_TYPE] === 'queue_full') onDropped('span_queue', count)
    },
  })
  return { getMeter: () => meter }
}

function periodicReader(environment: Environment, exporter: PushMetricExporter, storage: MetricStorage): IMetricReader {
  const exportIntervalMillis = positiveNumberOf(environment, 'OTEL_METRIC_EXPORT_INTERVAL') ?? DEFAULT_INTERVAL_MS
  const timeoutMs = positiveNumberOf(environment, 'OTEL_METRIC_EXPORT_TIMEOUT') ?? DEFAULT_TIMEOUT_MS
  return new PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis,
    exportTimeoutMillis: Math.min(timeoutMs, exportIntervalMillis),
    metricProducers: [
      new SeriesProducer(storage, {
        version: packageVersion(),
        temporalityOf: type => exporter.selectAggregationTemporality?.(type) ?? AggregationTemporality.CUMULATIVE,
      }),
    ],
  })
}

/** Counts the spans of every batch that could not be delivered. */
class CountingExporter implements SpanExporter {
  readonly #exporter: SpanExporter
  readonly #onDropped: OnDropped

  constructor(exporter: SpanExporter, onDropped: OnDropped) {
    this.#exporter = exporter
    this.#onDropped = onDropped
  }

  export(spans: ReadableSpan[], resultCallback: (result: ExportResult) => void): void {
    this.#exporter.export(spans, result => {
      if (result.code !== ExportResultCode.SUCCESS) this.#onDropped('export', spans.length)
      resultCallback(result)
    })
  }

  async forceFlush(): Promise<void> {
    await this.#exporter.forceFlush?.()
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown()
  }
}
