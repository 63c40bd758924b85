import type { Server, Socket } from 'node:net'
import type { SeriesSnapshot } from './series-sum.ts'

/** What a member of the cluster sends to the one that sums. */
export type MemberMessage =
  | {
      readonly kind: 'series'
      readonly member: string
      readonly pid: number
      readonly series: readonly SeriesSnapshot[]
      readonly asked?: number
    }
  | { readonly kind: 'scrape'; readonly id: number; readonly accept?: string }
  | { readonly kind: 'left'; readonly member: string }

/** What it gets back. `error` says why there is no answer. */
export type SumMessage =
  | { readonly kind: 'collect'; readonly id: number }
  | { readonly kind: 'answer'; readonly id: number; readonly contentType: string; readonly body: string }
  | { readonly kind: 'refused'; readonly id: number }

/** Longest message that is read, in characters. */
const LONGEST = 128 * 1024 * 1024

/**
 * The socket on which the processes of a cluster exchange their series.
 *
 * A socket of our own, and not the IPC of the cluster: an application that takes each message there for its own (`once('message')`)
 * would get ours. Only the user of the process can reach it.
 *
 * @param primaryPid Process id of the primary; it is unique within its namespace, and containers may share the folder.
 */
export function clusterPath(primaryPid: number): string {
  if (process.platform === 'win32') return String.raw`\\.\pipe\gatewatch-cluster-${primaryPid}`
  const { tmpdir } = process.getBuiltinModule('node:os')
  const name = `cluster-${namespaceOfPids()}${primaryPid}.sock`
  return process.getBuiltinModule('node:path').join(tmpdir(), `gatewatch-${process.getuid?.() ?? 0}`, name)
}

/** `4026531836-` on Linux. */
function namespaceOfPids(): string {
  try {
    const link = process.getBuiltinModule('node:fs').readlinkSync('/proc/self/ns/pid')
    return `${/\d+/.exec(link)?.[0] ?? ''}-`
  } catch {
    return ''
  }
}

/** Opens the socket. @returns `undefined` where another one of this process has it. @throws what the system says. */
export async function openClusterSocket(path: string, onConnection: (socket: Socket) => void): Promise<Server | undefined> {
  if (process.platform !== 'win32')
    process.getBuiltinModule('node:fs').mkdirSync(process.getBuiltinModule('node:path').dirname(path), { recursive: true, mode: 0o700 })
  requirePrivateFolder(path)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const server = process.getBuiltinModule('node:net').createServer(onConnection)
  server.once('error', reject)
  server.listen(path, resolve)
  server.unref()
  try {
    await promise
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return undefined
  }
  server.off('error', reject)
  server.on('error', () => undefined)
  return server
}

/** Connects to it. @throws what the system says. */
export async function connectToCluster(path: string): Promise<Socket> {
  requirePrivateFolder(path)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const socket = process.getBuiltinModule('node:net').connect(path, resolve)
  socket.unref()
  socket.once('error', reject)
  await promise
  socket.off('error', reject)
  return socket
}

/** Removes a socket that a process has left behind which had this id before. */
export function removeClusterSocket(path: string): void {
  if (process.platform !== 'win32') process.getBuiltinModule('node:fs').rmSync(path, { force: true })
}

/** @throws {Error} for a folder that another user could have made. */
function requirePrivateFolder(path: string): void {
  if (process.platform === 'win32') return
  const { uid, mode } = process.getBuiltinModule('node:fs').lstatSync(process.getBuiltinModule('node:path').dirname(path))
  if (uid !== process.getuid?.() || (mode & 0o77) !== 0)
    throw new Error('the folder of the socket belongs to another user, or is open to others')
}

/** Messages as lines of JSON. */
export class ClusterChannel<Received, Sent> {
  readonly #socket: Socket

  constructor(socket: Socket, onMessage: (message: Received) => void, onClosed: () => void) {
    this.#socket = socket
    let waiting = ''
    socket.unref()
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => {
      const lines = `${waiting}${text}`.split('\n')
      waiting = lines.pop() ?? ''
      if (waiting.length > LONGEST) socket.destroy()
      for (const line of lines) this.#read(line, onMessage)
    })
    // A process that ends may cut its last line.
    socket.on('error', () => socket.destroy())
    socket.on('close', onClosed)
  }

  /** Sends at once what the system takes: an ending process does no more. */
  send(message: Sent): void {
    if (this.#socket.writable) this.#socket.write(`${JSON.stringify(message)}\n`)
  }

  /** Sends what waits, then closes. */
  end(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#socket.ref()
    if (this.#socket.closed) resolve()
    else this.#socket.once('close', () => resolve())
    this.#socket.end()
    return promise
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(line: string, onMessage: (message: Received) => void): void {
    try {
      onMessage(JSON.parse(line) as Received)
    } catch {
      // No process of this package sends such a line.
      this.#socket.destroy()
    }
  }
}
