import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { ClientHttp2Stream } from 'node:http2'
import type { ResponseTracker } from './response-tracker.ts'

/** Keeps what a handler throws from a caller that calls it. */
export type Guard = <M>(handle: (message: M) => void) => (message: M) => void

/** Hears the answer as the parser hands it over; how, when and whether the application reads it stays its own affair. */
export function trackResponse(tracker: ResponseTracker, response: IncomingMessage, safely: Guard): void {
  tracker.head(response.statusCode ?? 0, response.headers, joined)
  const { push } = response
  const hear = safely((chunk: unknown) => {
    if (chunk === null) tracker.end()
    else if (chunk instanceof Uint8Array) tracker.chunk(chunk)
  })
  response.push = function (this: IncomingMessage, ...given: unknown[]) {
    hear(given[0])
    return Reflect.apply(push, this, given)
  } as typeof push
  response.once(
    'close',
    safely(() => tracker.end(response.errored ?? undefined)),
  )
}

/** As `trackResponse`. The stream is heard without a listener, since Node counts them to know whether anybody reads. */
export function trackStream(tracker: ResponseTracker, stream: ClientHttp2Stream, safely: Guard): void {
  const { emit, push } = stream
  // A stream that fails ends first, and says why then.
  let isAnswered = false
  const hearEvent = safely(([name, given]: readonly unknown[]) => {
    if (name === 'response') {
      isAnswered = true
      const { ':status': status, ...headers } = given as IncomingHttpHeaders & { ':status'?: unknown }
      tracker.head(Number(status ?? 0), headers, joined)
    } else if (name === 'error') tracker.end(given)
    else if (name === 'close') tracker.end()
  })
  const hear = safely((chunk: unknown) => {
    if (chunk === null && isAnswered) tracker.end()
    else if (chunk instanceof Uint8Array) tracker.chunk(chunk)
  })
  stream.emit = function (this: ClientHttp2Stream, ...given: unknown[]) {
    hearEvent(given)
    return Reflect.apply(emit, this, given)
  } as typeof emit
  stream.push = function (this: ClientHttp2Stream, ...given: unknown[]) {
    hear(given[0])
    return Reflect.apply(push, this, given)
  } as typeof push
}

function joined(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}
