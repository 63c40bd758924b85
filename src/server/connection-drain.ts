import type { Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { OpenItems } from '../tools/open-items.ts'

/**
 * How long a connection may stay open without a request while the server stops, in ms: what its client sent before it could
 * know is answered. A client that sends later than this sees the closed connection first.
 */
const LINGER_MS = 3_000
/** What the answers to calls that are given up at the end of the grace have to reach their clients, in ms. */
const FAREWELL_MS = 500

/**
 * Ends a server without losing a request of a kept-alive connection.
 *
 * `http.Server.close` destroys every idle connection at once, and a request that is on its way on one of them ends as
 * `ECONNRESET` (nodejs/node#60617). Here the server stops listening, each answer from then on says `Connection: close`, and
 * a connection without a request is closed only when it has been idle for a few seconds.
 */
export class ConnectionDrain {
  readonly #server: Server
  readonly #giveUp: () => void
  /** Open connections, with the number of requests that are not answered. */
  readonly #connections = new Map<Socket, number>()
  readonly #open = new OpenItems<ServerResponse>()
  #ended: Promise<void> | undefined
  #lingerMs = LINGER_MS
  #cutAt = Number.POSITIVE_INFINITY
  #cut: NodeJS.Timeout | undefined

  /** @param giveUp Called at the end of the grace: what still waits for a provider is to be answered as given up. */
  constructor(server: Server, giveUp: () => void) {
    this.#server = server
    this.#giveUp = giveUp
    server.on('connection', socket => this.#connected(socket))
    // Before the application, which may answer within its listener.
    server.prependListener('request', ({ socket }, response) => this.#asked(socket, response))
  }

  /** The server has been asked to stop. */
  get isDraining(): boolean {
    return this.#ended !== undefined
  }

  /**
   * Stops listening and resolves when the last connection is closed: at the latest a moment after `graceMs`, when what is
   * under way is given up and cut. Asked again, the shorter grace counts.
   */
  end(graceMs: number): Promise<void> {
    const isFirst = !this.isDraining
    this.#ended ??= new Promise(resolve => this.#server.once('close', () => resolve()))
    this.#cutIn(graceMs)
    if (isFirst) {
      this.#lingerMs = Math.min(LINGER_MS, graceMs)
      void this.#drain()
    }
    return this.#ended.then(() => {
      clearTimeout(this.#cut)
      // The timer of Node's own limits would hold the server.
      this.#server.close()
    })
  }

  async #drain(): Promise<void> {
    for (const response of this.#open.all()) if (!response.headersSent) response.shouldKeepAlive = false
    // Node gives this to the connections whose answer, begun before, has not said that they will be closed.
    this.#server.keepAliveTimeout = Math.max(1, this.#lingerMs)
    for (const [socket, requests] of this.#connections) if (requests === 0) socket.setTimeout(this.#server.keepAliveTimeout)
    // Connections that wait to be accepted would be reset.
    await nextTurn()
    NetServer.prototype.close.call(this.#server)
  }

  #connected(socket: Socket): void {
    this.#connections.set(socket, 0)
    socket.on('close', () => this.#connections.delete(socket))
    if (this.isDraining) socket.setTimeout(this.#server.keepAliveTimeout)
  }

  #asked(socket: Socket, response: ServerResponse): void {
    const open = this.#open.add(response)
    this.#count(socket, 1)
    response.on('close', () => {
      this.#open.remove(open)
      this.#count(socket, -1)
    })
    if (!this.isDraining) return
    response.shouldKeepAlive = false
    socket.setTimeout(0)
  }

  #count(socket: Socket, change: 1 | -1): void {
    const requests = this.#connections.get(socket)
    if (requests !== undefined) this.#connections.set(socket, requests + change)
  }

  #cutIn(graceMs: number): void {
    const at = performance.now() + graceMs
    if (at >= this.#cutAt) return
    this.#cutAt = at
    clearTimeout(this.#cut)
    this.#cut = setTimeout(() => {
      this.#giveUp()
      this.#cut = setTimeout(() => this.#server.closeAllConnections(), graceMs === 0 ? 0 : FAREWELL_MS)
    }, graceMs)
  }
}
