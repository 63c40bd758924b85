import type { ServerResponse } from 'node:http'
import { activeContext, runInContext } from '../telemetry/active-context.ts'
import { HostedSpan } from '../telemetry/hosted-span.ts'
import { hostServerSpan, parentOfRequest } from '../telemetry/inbound-parent.ts'
import { type EventFields, OpenEvent, type OpenEventOptions } from '../telemetry/open-event.ts'
import { contextOf, type Telemetry } from '../telemetry/telemetry.ts'
import { type InboundHandler, type InboundRequest, inboundPathOf } from './inbound-request.ts'

const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'QUERY'])

/**
 * Opens a span for each inbound request, so that every provider call and acquisition that follows hangs under the request
 * that wanted it. Joins the trace the host has begun, else the one the client sent. Where the host has a SERVER span for the
 * request, what is known goes onto that one and no second one is made.
 */
export function requestSpans(telemetry: Telemetry): InboundHandler {
  return (request, response, next) => {
    const active = activeContext()
    const onto = hostServerSpan(active)
    const parent = onto ? active : parentOfRequest(active, request.headers)
    const record = new InboundRecord(telemetry, request, response, { parent, onto })
    const { span } = record
    // `on`, since it comes once: `once` makes two objects more for each request.
    response.on('close', () => record.closed())
    // Before whatever the host does at this moment: it may end its span.
    if (span instanceof HostedSpan && span.isBorrowed) response.prependListener('finish', () => span.deliver())
    runInContext(contextOf(span), next)
  }
}

/** What endpoints know of their requests, and what the events of answered requests still wait for. */
const noted = new WeakMap<ServerResponse, { fields: EventFields<'inbound'>; settled?: Promise<unknown> }>()

/** Notes what an endpoint knows of its request. */
export function noteInbound(response: ServerResponse, fields: EventFields<'inbound'>): void {
  const known = noted.get(response)
  if (known) Object.assign(known.fields, fields)
  else noted.set(response, { fields: { ...fields } })
}

/**
 * Keeps the event of a request open until `settled` is, for what is looked up while the answer goes out. The event ends when
 * the answer did all the same.
 */
export function keepOpenFor(response: ServerResponse, settled: Promise<unknown>): void {
  noteInbound(response, {})
  const known = noted.get(response)
  if (known) known.settled = settled
}

/** The event of one inbound request. */
class InboundRecord extends OpenEvent<'inbound'> {
  readonly #request: InboundRequest
  readonly #response: ServerResponse

  constructor(telemetry: Telemetry, request: InboundRequest, response: ServerResponse, options: OpenEventOptions) {
    const { method: given = '' } = request
    super(telemetry, 'inbound', { httpMethod: KNOWN_METHODS.has(given) ? given : '_OTHER' }, options)
    this.#request = request
    this.#response = response
  }

  closed(): void {
    const endedAt = performance.now()
    const settled = noted.get(this.#response)?.settled
    const httpStatus = statusOf(this.#response)
    const errorType = failureOf(httpStatus)
    const end = () => this.end({ httpRoute: routeOf(this.#request), httpStatus, errorType, isError: errorType !== undefined }, endedAt)
    if (settled) settled.then(end, end)
    else end()
  }

  protected override details(): EventFields<'inbound'> {
    const httpRoute = routeOf(this.#request)
    const httpStatus = statusOf(this.#response)
    return {
      httpRoute,
      // Only a path without parameters: what stands in their places may be a token (`/reset/:token`).
      urlPath: inboundPathOf(this.#request) === httpRoute ? httpRoute : undefined,
      httpStatus,
      errorType: failureOf(httpStatus),
      ...noted.get(this.#response)?.fields,
    }
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
