import { createServer, request as httpRequest, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createHttp2Server, createSecureServer } from 'node:http2'
import { type AddressInfo, connect, type Server, type Socket } from 'node:net'

/** What stands before the simulator: TLS, HTTP/2, a proxy, a place that was moved and one that is slow. */
export interface Front {
  /** HTTP/1: passes on what it gets, answers at `/slow` when a moment has passed, and sends `/moved/...` to the simulator. */
  readonly url: string
  /** The same behind TLS, for HTTP/1 and HTTP/2, at `localhost`. */
  readonly secureUrl: string
  /** The same for HTTP/2 without TLS. */
  readonly clearHttp2Url: string
  stop(): void
}

const SLOW_MS = 30

/** Starts a front for the simulator at `simulatorUrl`. */
export async function startFront(simulatorUrl: string, certificate: { key: string; cert: string }): Promise<Front> {
  const pass = passOn(simulatorUrl)
  const plain = createServer(pass)
  plain.on('connect', tunnel)
  const secure = createSecureServer({ ...certificate, allowHTTP1: true }, pass as never)
  const clear = createHttp2Server({}, pass as never)
  const sockets = new Set<Socket>()
  for (const server of [plain, secure, clear] as Server[])
    server.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket)).on('error', () => undefined)
    })
  const [plainPort, securePort, clearPort] = await Promise.all([plain, secure, clear].map(server => listen(server)))
  return {
    url: `http://127.0.0.1:${plainPort}`,
    secureUrl: `https://localhost:${securePort}`,
    clearHttp2Url: `http://127.0.0.1:${clearPort}`,
    stop: () => {
      for (const server of [plain, secure, clear]) server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

function passOn(simulatorUrl: string): RequestListener {
  return (request, response) => {
    const { pathname } = new URL(request.url ?? '/', simulatorUrl)
    if (pathname === '/slow') return void setTimeout(() => response.writeHead(200).end('slow'), SLOW_MS)
    if (pathname.startsWith('/moved/'))
      return void response.writeHead(307, { location: `${simulatorUrl}${pathname.slice('/moved'.length)}` }).end()
    forward(request, response, `${simulatorUrl}${pathname}`)
  }
}

function forward(request: IncomingMessage, response: ServerResponse, url: string): void {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !/^(?::|host$|connection$)/.test(name)))
  const onward = httpRequest(url, { method: request.method, headers }, answer => {
    response.writeHead(answer.statusCode ?? 502, { 'content-type': answer.headers['content-type'] ?? 'text/plain' })
    answer.pipe(response)
  })
  onward.on('error', () => response.writeHead(502).end())
  request.pipe(onward)
}

function tunnel(request: IncomingMessage, socket: Socket): void {
  const { hostname, port } = new URL(`tcp://${request.url}`)
  const onward = connect(Number(port), hostname, () => {
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
    onward.pipe(socket).pipe(onward)
  })
  onward.on('error', () => socket.destroy())
  socket.on('error', () => onward.destroy()).on('close', () => onward.destroy())
}

function listen(server: { listen(port: number, host: string, done: () => void): unknown; address(): unknown }): Promise<number> {
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))
}
