import type { MetricsFormat } from './open-metrics.ts'

/** By format, as answered; each is an `Accept` header that asks for it, too. */
export const CONTENT_TYPES = {
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
} as const satisfies Record<MetricsFormat, string>

/** Versions of OpenMetrics we may answer with 1.0.0; servers that ask for 0.0.1 read the same text. */
const OPEN_METRICS_VERSIONS = new Set([undefined, '1.0.0', '0.0.1'])

interface MetricsChoice {
  readonly format: MetricsFormat
  readonly contentType: string
}

/**
 * Chooses the format of `/metrics` from the request's `Accept` header.
 *
 * OpenMetrics for a client that names it and does not prefer plain text (it alone carries exemplars); the Prometheus text
 * format for everybody else, so that a browser or `curl` shows something to read.
 *
 * @see RFC 9110 section 12.5.1 for `q`.
 */
export function negotiate(accept: string | undefined): MetricsChoice {
  let openMetrics = 0
  let text = 0
  for (const range of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';').map(part => part.trim().toLowerCase())
    const weight = weightOf(parameters)
    if (type === 'application/openmetrics-text' && OPEN_METRICS_VERSIONS.has(parameterOf(parameters, 'version'))) {
      openMetrics = Math.max(openMetrics, weight)
    } else if (type === 'text/plain') text = Math.max(text, weight)
  }
  const format = openMetrics > 0 && openMetrics >= text ? 'openmetrics' : 'prometheus'
  return { format, contentType: CONTENT_TYPES[format] }
}

function weightOf(parameters: readonly string[]): number {
  const weight = Number(parameterOf(parameters, 'q') ?? 1)
  return Number.isFinite(weight) ? weight : 0
}

function parameterOf(parameters: readonly string[], name: string): string | undefined {
  return parameters.find(parameter => parameter.startsWith(`${name}=`))?.slice(name.length + 1)
}
