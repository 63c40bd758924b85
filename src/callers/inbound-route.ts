import { AsyncLocalStorage } from 'node:async_hooks'
import diagnostics from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'
import { CHANNEL_INBOUND } from '../../otel/semconv.ts'

const inbound = new AsyncLocalStorage<IncomingMessage>()
/** What a segment of a path looks like that names one thing among many: it would make a label without end, or hold a secret. */
const NOT_A_WORD = /\d|[^\w.-]|^.{25,}$/
const MOST_SEGMENTS = 6

/**
 * Notes, for all work that an inbound request sets off, which request it is; the only thing left of a caller whose stack
 * the event loop has cut.
 *
 * @returns Stops noting.
 */
export function noteInboundRoutes(): () => void {
  const note = (message: unknown) => inbound.enterWith((message as { request: IncomingMessage }).request)
  diagnostics.subscribe(CHANNEL_INBOUND, note)
  return () => void diagnostics.unsubscribe(CHANNEL_INBOUND, note)
}

/** The inbound request that the code running now works for. A router changes its URL while it passes it on. */
export function inboundRequest(): IncomingMessage | undefined {
  return inbound.getStore()
}

/** Method and path of a request without what is particular to it. */
export function routeOf(method: string, url: string): string {
  const [path = '/'] = url.split('?')
  const segments = path.split('/').slice(1)
  const shown = segments.slice(0, MOST_SEGMENTS).map(segment => (NOT_A_WORD.test(segment) && !/^v\d{1,2}$/.test(segment) ? ':id' : segment))
  return `${method} /${shown.join('/')}${segments.length > MOST_SEGMENTS ? '/…' : ''}`
}
