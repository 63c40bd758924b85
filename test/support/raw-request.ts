import { type Agent, type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http'
import { connect, type Socket } from 'node:net'

export interface RawAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface RawRequest {
  readonly method?: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Buffer
  /** @default a connection of its own */
  readonly agent?: Agent
}

/** Sends a request with headers no `fetch` would send (`Host`, `Connection`, `Cookie`) on a connection of its own. */
export async function rawRequest(url: string, options: RawRequest = {}): Promise<RawAnswer> {
  const answer = await rawAnswer(url, options)
  const parts: Buffer[] = []
  for await (const part of answer) parts.push(part as Buffer)
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(parts) }
}

/** As `rawRequest`, but the body is left to be read by the test. */
export function rawAnswer(url: string, { method = 'GET', headers = {}, body, agent }: RawRequest = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, agent: agent ?? false }, resolve)
    sent.on('error', reject)
    sent.end(body)
  })
}

/** A bare connection, with all that came over it so far. */
export function rawConnection(url: string): Promise<{ socket: Socket; received: () => string; closed: Promise<void> }> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(Number(port), hostname)
    const closed = new Promise<void>(done => socket.once('close', () => done()))
    socket.once('error', reject)
    socket.on('data', data => {
      text += data.toString('latin1')
    })
    socket.once('connect', () => resolve({ socket, received: () => text, closed }))
  })
}
