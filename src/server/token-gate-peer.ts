import { readdir, readFile, readlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { dropOldest } from '../tools/drop-oldest.ts'

/** Processes that are looked at, the newest first: a large machine has many. */
const MOST_PROCESSES = 500
/** Longest search, in ms. Far longer than it takes: a slow machine finds what a quick one does. No answer waits so long. */
const LONGEST_SEARCH_MS = 5_000
/** Where the kernel lists sockets: which line is whose, and nothing of what goes through them. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6']
/** 127.x.y.z, ::ffff:127.x.y.z and ::1, as the kernel writes them. */
const LOOPBACK_HEX = /^(?:[0-9A-F]{6}7F|0{16}FFFF0000[0-9A-F]{6}7F|0{24}01000000)$/
const LOOPBACK = /^(?:(?:::ffff:)?127\.[\d.]+|::1)$/
/** Open files of one process that are looked at: a client of ours is no server with a hundred thousand of them. */
const MOST_FILES = 4_096
/** What Node calls the main thread of every process. */
const UNNAMED_NODE = 'MainThread'
const COMMAND = /^[\w.:@/ -]{1,32}$/

/** A connection, by its two ends; as a socket has it. */
interface Peer {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
  readonly localPort?: number | undefined
}

/** Processes that were at the other end lately. */
const foundBefore = new Set<string>()
const MOST_FOUND = 16

/** Names the process at the other end of a connection; `undefined` where it cannot. Never rejects. */
type PeerFinder = (peer: Peer) => Promise<string | undefined>

/** Searches at once: each reads the tables of the system, and hundreds of clients may come together. */
const MOST_SEARCHES = 4

/** How long an answer waits for the name of its client's process, in ms: a search takes a few. */
const ANSWER_WAIT_MS = 250
/** The steps in which that is counted: a process that stands still for a while uses up one step, not the whole wait. */
const WAIT_STEP_MS = 25
/** Longest wait however slow the machine is, in ms. */
const LONGEST_WAIT_MS = 1_000

/** A clock that can be waited by. */
interface WaitingClock extends Pick<Clock, 'monotonic'> {
  /** Resolves so many ms later. */
  wait(ms: number): Promise<unknown>
}

/** The processes at the other ends of connections. Each is looked for once. */
export class PeerNames {
  readonly #find: PeerFinder
  readonly #clock: WaitingClock
  readonly #found = new WeakMap<object, string | undefined>()
  readonly #searched = new WeakMap<object, Promise<string | undefined>>()
  #searches = 0

  constructor(find: PeerFinder = peerProcess, clock: WaitingClock = { monotonic: () => systemClock.monotonic(), wait }) {
    this.#find = find
    this.#clock = clock
  }

  /** What is known of a connection by now. */
  known(connection: object): string | undefined {
    return this.#found.get(connection)
  }

  /** Looks for the process of a connection; `undefined` too where so many are looked for already. */
  find(connection: Peer): Promise<string | undefined> {
    const searched = this.#searched.get(connection)
    if (searched) return searched
    if (this.#searches >= MOST_SEARCHES) return Promise.resolve(undefined)
    this.#searches += 1
    const search = this.#find(connection).then(process => {
      this.#searches -= 1
      this.#found.set(connection, process)
      return process
    })
    this.#searched.set(connection, search)
    return search
  }

  /**
   * Resolves when the search for the process of a connection is over, at once where there is none, and after a short time in
   * any case. To be waited for before the answer: a client that has its answer closes the connection, and then no process
   * holds it any more.
   */
  async searched(connection: object): Promise<void> {
    const search = this.#searched.get(connection)
    if (!search || this.#found.has(connection)) return
    const over = search.then(() => true)
    const startedAt = this.#clock.monotonic()
    for (let waitedMs = 0; waitedMs < ANSWER_WAIT_MS; waitedMs += WAIT_STEP_MS) {
      if (await Promise.race([over, this.#clock.wait(WAIT_STEP_MS).then(() => false)])) return
      if (this.#clock.monotonic() - startedAt >= LONGEST_WAIT_MS) return
    }
  }
}

/**
 * The command name of the process at the other end of a loopback connection, where the system reports it: on Linux, for
 * processes that this one may inspect. Never its arguments, which may contain secrets.
 *
 * @returns `undefined` where nothing was found in time. Never rejects.
 */
export async function peerProcess({ remoteAddress, remotePort, localPort }: Peer): Promise<string | undefined> {
  if (remotePort === undefined || localPort === undefined || !LOOPBACK.test(remoteAddress ?? '')) return undefined
  const until = performance.now() + LONGEST_SEARCH_MS
  try {
    const inode = await socketInode(remotePort, localPort)
    if (inode === undefined) return undefined
    // A process that came before comes again; of the others the newest first: a client that was just started is the usual one.
    const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name)).sort((a, b) => Number(b) - Number(a))
    for (const pid of new Set([...foundBefore, ...pids.slice(0, MOST_PROCESSES)])) {
      if (performance.now() > until) return undefined
      if (!(await holdsSocket(pid, inode))) continue
      foundBefore.add(pid)
      dropOldest(foundBefore, MOST_FOUND)
      return shown(await commandOf(pid))
    }
  } catch {
    // No /proc here, or the process is gone.
  }
  return undefined
}

/** The inode of the client's end: its local port is our remote one. */
async function socketInode(clientPort: number, ourPort: number): Promise<string | undefined> {
  for (const table of TABLES) {
    for (const line of (await readFile(table, 'utf8').catch(() => '')).split('\n').slice(1)) {
      const [, local = '', remote = '', , , , , , , inode] = line.trim().split(/\s+/)
      if (portOf(local) === clientPort && portOf(remote) === ourPort && isLoopbackHex(local) && inode !== '0') return inode
    }
  }
  return undefined
}

function portOf(address: string): number {
  return Number.parseInt(address.split(':')[1] ?? '', 16)
}

function isLoopbackHex(address: string): boolean {
  return LOOPBACK_HEX.test(address.split(':')[0] ?? '')
}

async function holdsSocket(pid: string, inode: string): Promise<boolean> {
  try {
    const folder = `/proc/${pid}/fd`
    const links = await Promise.all((await readdir(folder)).slice(0, MOST_FILES).map(fd => readlink(`${folder}/${fd}`).catch(() => '')))
    return links.includes(`socket:[${inode}]`)
  } catch {
    // Another caller's process, or one that has just ended.
    return false
  }
}

/** What the process is called; Node calls every one of its own the same, unless the program says otherwise. */
async function commandOf(pid: string): Promise<string> {
  const command = (await readFile(`/proc/${pid}/comm`, 'utf8')).trim()
  return command === UNNAMED_NODE ? basename(await readlink(`/proc/${pid}/exe`)) : command
}

/** A process names itself as it likes. */
function shown(command: string): string | undefined {
  return COMMAND.test(command) ? sanitizeName(command) : undefined
}
