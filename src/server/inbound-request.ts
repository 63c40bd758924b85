import type { IncomingMessage, ServerResponse } from 'node:http'

/** A request as Node gives it, with what Express adds where it came through Express. */
export interface InboundRequest extends IncomingMessage {
  /** The target before a router has changed `url`. */
  originalUrl?: string
  /** What the routers above have taken of the path. */
  baseUrl?: string
  route?: { readonly path?: unknown } | undefined
}

/** A handler that needs nothing of Express, and is one of its handlers all the same. */
export type InboundHandler = (request: InboundRequest, response: ServerResponse, next: () => void) => void

/** Path with query, as it was asked for. */
function inboundTargetOf({ originalUrl, url }: Pick<InboundRequest, 'originalUrl' | 'url'>): string {
  return originalUrl ?? url ?? ''
}

/** Path without query, as it was asked for. */
export function inboundPathOf(request: Pick<InboundRequest, 'originalUrl' | 'url'>): string {
  const target = inboundTargetOf(request)
  const query = target.indexOf('?')
  return query < 0 ? target : target.slice(0, query)
}

/** The name of the `Host` header, without its port. */
export function hostNameOf({ headers: { host = '' } }: Pick<InboundRequest, 'headers'>): string {
  const port = host.indexOf(':', host.startsWith('[') ? host.indexOf(']') : 0)
  return port < 0 ? host : host.slice(0, port)
}
