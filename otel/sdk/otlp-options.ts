import { readFileSync } from 'node:fs'
import { diag } from '@opentelemetry/api'
import { parseKeyPairsIntoRecord } from '@opentelemetry/core'
import { AggregationTemporalityPreference } from '@opentelemetry/exporter-metrics-otlp-http'
import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base'
import { type createOtlpHttpExportDelegate, httpAgentFactoryFromOptions } from '@opentelemetry/otlp-exporter-base/node-http'
import { type Environment, positiveNumberOf, variableText } from '../../src/telemetry/environment.ts'

/** What is exported: each has variables of its own, which go before those for both. */
export type OtlpSignal = 'TRACES' | 'METRICS'

type OtlpHttpOptions = Parameters<typeof createOtlpHttpExportDelegate>[0]

const PATHS: Readonly<Record<OtlpSignal, string>> = { TRACES: 'v1/traces', METRICS: 'v1/metrics' }
const DEFAULT_ENDPOINT = 'http://localhost:4318'
const DEFAULT_TIMEOUT_MS = 10_000
const MOST_CONCURRENT = 30

/**
 * How to export over HTTP, as the environment says.
 *
 * Read here and not by OpenTelemetry's exporters: those know `process.env` alone, and that is the host's.
 *
 * @see https://opentelemetry.io/docs/specs/otel/protocol/exporter/
 */
export function otlpHttpOptions(environment: Environment, signal: OtlpSignal, contentType: string): OtlpHttpOptions {
  const headers = { ...pairsOf(environment, 'OTEL_EXPORTER_OTLP_HEADERS'), ...pairsOf(environment, `OTEL_EXPORTER_OTLP_${signal}_HEADERS`) }
  const file = (name: string) => readNamedFile(variableText(environment, ...namesOf(signal, name)))
  return {
    url: urlOf(environment, signal),
    headers: async () => ({ ...headers, 'Content-Type': contentType }),
    timeoutMillis: timeoutOf(environment, signal),
    concurrencyLimit: MOST_CONCURRENT,
    compression: compressionOf(environment, signal),
    agentFactory: httpAgentFactoryFromOptions({
      keepAlive: true,
      ...definedOnly({ ca: file('CERTIFICATE'), cert: file('CLIENT_CERTIFICATE'), key: file('CLIENT_KEY') }),
    }),
  }
}

/** The same for gRPC, as far as its exporter takes it from anywhere but `process.env`. */
export function otlpGrpcOptions(environment: Environment, signal: OtlpSignal): object {
  if (environment === process.env) return {}
  if (variableText(environment, ...namesOf(signal, 'HEADERS')) !== undefined)
    diag.warn('OTLP over grpc takes its headers from the environment of the process alone; they are left out')
  return {
    ...definedOnly({ url: variableText(environment, ...namesOf(signal, 'ENDPOINT')) }),
    timeoutMillis: timeoutOf(environment, signal),
    compression: compressionOf(environment, signal),
  }
}

/** Whether sums are exported since the start or since the last export. */
export function temporalityOf(environment: Environment): AggregationTemporalityPreference {
  const wanted = variableText(environment, 'OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE')?.toLowerCase() ?? 'cumulative'
  if (wanted === 'delta') return AggregationTemporalityPreference.DELTA
  if (wanted === 'lowmemory') return AggregationTemporalityPreference.LOWMEMORY
  if (wanted !== 'cumulative') diag.warn(`the temporality ${wanted} is not one of cumulative, delta, lowmemory; cumulative is used`)
  return AggregationTemporalityPreference.CUMULATIVE
}

function namesOf(signal: OtlpSignal, name: string): readonly string[] {
  return [`OTEL_EXPORTER_OTLP_${signal}_${name}`, `OTEL_EXPORTER_OTLP_${name}`]
}

/** The endpoint of the signal unchanged; that of both with the signal's path behind it. */
function urlOf(environment: Environment, signal: OtlpSignal): string {
  const own = variableText(environment, `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`)
  if (own !== undefined && URL.canParse(own)) return new URL(own).href
  const base = variableText(environment, 'OTEL_EXPORTER_OTLP_ENDPOINT') ?? DEFAULT_ENDPOINT
  const isUrl = URL.canParse(base)
  if (!isUrl || own !== undefined)
    diag.warn(`the OTLP endpoint of ${signal.toLowerCase()} is no URL; ${isUrl ? base : DEFAULT_ENDPOINT} is used`)
  return `${(isUrl ? base : DEFAULT_ENDPOINT).replace(/\/?$/, '/')}${PATHS[signal]}`
}

function timeoutOf(environment: Environment, signal: OtlpSignal): number {
  return positiveNumberOf(environment, ...namesOf(signal, 'TIMEOUT')) ?? DEFAULT_TIMEOUT_MS
}

function compressionOf(environment: Environment, signal: OtlpSignal): CompressionAlgorithm {
  const wanted = variableText(environment, ...namesOf(signal, 'COMPRESSION'))
  if (wanted === 'gzip') return CompressionAlgorithm.GZIP
  if (wanted !== undefined && wanted !== 'none') diag.warn(`the OTLP compression ${wanted} is not one of none, gzip; none is used`)
  return CompressionAlgorithm.NONE
}

function pairsOf(environment: Environment, name: string): Record<string, string> {
  return parseKeyPairsIntoRecord(environment[name])
}

function readNamedFile(path: string | undefined): Buffer | undefined {
  if (path === undefined) return undefined
  try {
    return readFileSync(path)
  } catch {
    diag.warn('a certificate or key that OTEL_EXPORTER_OTLP_* names cannot be read; it is left out')
    return undefined
  }
}

function definedOnly<Value>(given: Readonly<Record<string, Value | undefined>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}
