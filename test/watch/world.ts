import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { context } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import type { MetricKey } from '../../otel/semconv.ts'
import { watchOutgoing } from '../../src/http-clients/outgoing.ts'
import { createRegistry } from '../../src/providers/registry.ts'
import { type BypassWatchOptions, watchBypasses } from '../../src/watch/bypass-watch.ts'
import { afterwards } from '../support/clean-up.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The body as its pieces came. */
  readonly pieces: readonly string[]
}

/** A real server that keeps what it received; stopped after the test. */
export async function startServer(answer: (response: ServerResponse, received: Received) => void = ok) {
  const received: Received[] = []
  const onRequest: RequestListener = (request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('error', () => undefined)
    request.on('end', () => {
      const body = Buffer.concat(pieces)
      const arrived = { path: request.url ?? '', headers: request.headers, body, pieces: pieces.map(String) }
      received.push(arrived)
      answer(response, arrived)
    })
  }
  const server = createServer(onRequest)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  afterwards(() => {
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received, server }
}

/**
 * The URL of a port on which no server listens: none that is given out to a caller that asks for any, as one that was just closed may be,
 * nor of those that fetch refuses itself.
 */
export const DEAD_URL = 'http://127.0.0.1:2/token'

/** What was seen of one request. */
export interface Seen {
  readonly method: string
  readonly url: string
  body?: string | undefined
  /** Listeners in the order in which they were called. */
  readonly reported: ('body' | 'end')[]
  end?: { status?: number; headers?: object | undefined; body?: string; error?: unknown }
}

/** Watches every POST of this process. */
export function watchPosts() {
  const seen: Seen[] = []
  const faults: unknown[] = []
  const stop = watchOutgoing({
    wanted: method => method === 'POST',
    listener: request => {
      const { method, url } = request
      const one: Seen = { method, url, reported: [] }
      seen.push(one)
      request.onBody(body => {
        one.body = body
        one.reported.push('body')
      })
      request.onEnd(({ status, headers, body, error }) => {
        one.end = {
          ...(status !== undefined && { status }),
          headers,
          ...(body && { body: body.toString('utf8') }),
          ...(error !== undefined && { error }),
        }
        one.reported.push('end')
      })
    },
    onFault: fault => faults.push(fault),
    onNotice: line => faults.push(line),
  })
  afterwards(stop)
  return { seen, faults, stop }
}

/** A watch for bypasses with real telemetry behind the real redaction. `acme` is a provider whose token URL is `<url>/token`. */
export async function bypassWorld(
  { url }: { url: string },
  { lineageOf = () => undefined, policy = 'observe' }: Partial<Pick<BypassWatchOptions, 'lineageOf' | 'policy'>> = {},
) {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  afterwards(() => context.disable())
  const dropped: string[] = []
  const { telemetry, all, series } = observedTelemetry({ onDropped: place => dropped.push(place) })
  const registry = createRegistry({ acme: { baseUrl: `${url}/v1`, tokenUrl: `${url}/token`, clientId: 'app_acme' } })
  const faults: unknown[] = []
  const watch = watchBypasses({ telemetry, registry, policy, lineageOf, onFault: fault => faults.push(fault) })
  watch.start()
  afterwards(watch.stop)
  return {
    tokenUrl: `${url}/token`,
    telemetry,
    watch,
    faults,
    dropped,
    spans: all,
    /** Every point of a metric: its labels and its value, or its count for a histogram. */
    points: async (key: MetricKey) => (await series(key)).map(({ labels, value }) => ({ ...labels, value })),
  }
}

/** Waits until `done` says so; what is awaited happens on its own a moment later. */
export async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise(resolve => setTimeout(resolve, 2))
}

export const onClose = afterwards

function ok(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"access_token":"granted"}')
}
