import type { ServerResponse } from 'node:http'
import { type Attributes, type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { ATTR_ERROR_TYPE, ATTR_HTTP_METHOD, ATTR_HTTP_ROUTE, ATTR_HTTP_STATUS, ATTR_URL_PATH } from '../../otel/semconv.ts'
import { activeContext, runInContext } from '../telemetry/active-context.ts'
import { HostedSpan } from '../telemetry/hosted-span.ts'
import { hostServerSpan, parentOfRequest } from '../telemetry/inbound-parent.ts'
import { contextOf, exemplarOf, type Telemetry } from '../telemetry/telemetry.ts'
import { type InboundHandler, type InboundRequest, inboundPathOf } from './inbound-request.ts'

const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'QUERY'])

/**
 * Opens a span for each inbound request, so that every provider call and acquisition that follows hangs under the request
 * that wanted it. Joins the trace the host has begun, else the one the client sent. Where the host has a SERVER span for the
 * request, what is known goes onto that one and no second one is made.
 */
export function requestSpans(telemetry: Telemetry): InboundHandler {
  return (request, response, next) => {
    const startedAt = performance.now()
    const { method: given = '' } = request
    const method = KNOWN_METHODS.has(given) ? given : '_OTHER'
    const active = activeContext()
    const onto = hostServerSpan(active)
    const span = telemetry.startSpan(method, {
      kind: SpanKind.SERVER,
      parent: onto ? active : parentOfRequest(active, request.headers),
      onto,
      describe: () => describeRequest(request, response, method),
    })
    // `on`, since it comes once: `once` makes two objects more for each request.
    response.on('close', () => finish(telemetry, span, { request, response, method, startedAt }))
    // Before whatever the host does at this moment: it may end its span.
    if (span instanceof HostedSpan && span.isBorrowed) response.prependListener('finish', () => span.deliver())
    runInContext(contextOf(span), next)
  }
}

/** What the spans of answered requests still wait for. */
const waitedFor = new WeakMap<ServerResponse, Promise<unknown>>()

/**
 * Keeps the span of a request open until `settled` is, for what is looked up while the answer goes out. The span ends when
 * the answer did all the same.
 */
export function keepSpanFor(response: ServerResponse, settled: Promise<unknown>): void {
  waitedFor.set(response, settled)
}

interface Finished {
  readonly request: InboundRequest
  readonly response: ServerResponse
  readonly method: string
  readonly startedAt: number
}

function finish(telemetry: Telemetry, span: Span, { request, response, method, startedAt }: Finished): void {
  const route = routeOf(request)
  const status = statusOf(response)
  const failure = failureOf(status)
  span.updateName(`${method} ${route}`)
  if (failure) span.setStatus({ code: SpanStatusCode.ERROR })
  const endedAt = performance.now()
  telemetry.instruments.record(
    'serverDuration',
    (endedAt - startedAt) / 1000,
    { [ATTR_HTTP_METHOD]: method, [ATTR_HTTP_ROUTE]: route, [ATTR_HTTP_STATUS]: status, [ATTR_ERROR_TYPE]: failure },
    exemplarOf(span),
  )
  const settled = waitedFor.get(response)
  const end = () => span.end(endedAt)
  if (settled) settled.then(end, end)
  else end()
}

/** What the span of a request says, once a caller wants to know. */
function describeRequest(request: InboundRequest, response: ServerResponse, method: string): Attributes {
  const route = routeOf(request)
  const status = statusOf(response)
  const failure = failureOf(status)
  return {
    [ATTR_HTTP_METHOD]: method,
    [ATTR_HTTP_ROUTE]: route,
    // Only a path without parameters: what stands in their places may be a token (`/reset/:token`).
    ...(inboundPathOf(request) === route && { [ATTR_URL_PATH]: route }),
    ...(status !== undefined && { [ATTR_HTTP_STATUS]: status }),
    ...(failure && { [ATTR_ERROR_TYPE]: failure }),
  }
}

/** A client that left before the head was sent has seen no status at all. */
function statusOf(response: ServerResponse): number | undefined {
  return response.headersSent ? response.statusCode : undefined
}

function failureOf(status: number | undefined): string | undefined {
  return status !== undefined && status >= 500 ? String(status) : undefined
}

/** The pattern, never the path: a path is a client's to choose, and would be a series each. */
function routeOf({ baseUrl = '', route }: InboundRequest): string {
  const path = route?.path
  return typeof path === 'string' ? `${baseUrl}${path}` : 'unmatched'
}
