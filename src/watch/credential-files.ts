import { readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, parse, sep } from 'node:path'
import { clearTimeout, setTimeout } from 'node:timers'
import type { Worker } from 'node:worker_threads'
import { startQuietThread } from '../tools/quiet-thread.ts'
import { suppressInstrumentation } from '../tools/suppress-instrumentation.ts'
import {
  type CredentialFile,
  type CredentialQuestion,
  type CredentialSearch,
  type CredentialSearchAnswer,
  type StoredCredential,
  searchCredentials,
} from './credential-search.ts'

const MOST_BYTES = 4 * 1024 * 1024
const MOST_BYTES_OF_ALL = 32 * 1024 * 1024
const MOST_FILES = 100
/** Files that are read at once: libuv has four threads, and they are the host's. */
const FILES_AT_ONCE = 2
/** Questions that wait; what is asked beyond them is not answered. */
const MOST_OPEN = 20
/** The thread ends when it had nothing to do for so long. */
const IDLE_MS = 5_000
const MOST_HEAP_MIB = 256

/**
 * Reads, and only reads, the files in which an application keeps its tokens, to learn what requests do not show:
 * when the token that is being refreshed expires, before it was ever sent. Asked only for refresh tokens that were not
 * seen before; nothing of a file is kept.
 *
 * Nothing here holds up the request: files are read asynchronously, from the moment at which the request is made, and
 * searched in a thread of ours. Only where the process exits before that, they are read and searched on the spot.
 */
export class CredentialFiles {
  readonly #patterns: readonly string[]
  readonly #open = new Map<number, OpenQuestion>()
  #questions = 0
  #thread: Worker | undefined
  #idle: NodeJS.Timeout | undefined

  /** @param patterns Paths; `~` is the home folder, `*` stands for one folder or file. */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns
  }

  /**
   * Asks for a credential as the files have it now.
   *
   * @param found Called with it, once; not at all where no file holds it or none can be read.
   * @returns Resolves when that is known; `undefined` where there is nothing to ask. Never rejects, holds no process.
   */
  find(question: CredentialQuestion, found: (stored: StoredCredential) => void): Promise<void> | undefined {
    if (this.#patterns.length === 0 || this.#open.size >= MOST_OPEN) return undefined
    this.#questions += 1
    const id = this.#questions
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#open.set(id, { question, found, resolve, files: undefined })
    suppressInstrumentation(() => this.#ask(id)).catch(() => this.#answered(id, undefined))
    return promise
  }

  /** Answers what is asked, here and at once, for a process that exits. */
  settleNow(): void {
    for (const [id, { question, files }] of [...this.#open])
      this.#answered(id, searchCredentials(files ?? readNow(this.#patterns, question.sentMs), question))
  }

  /** Ends the thread; what is asked is not answered. */
  stop(): void {
    clearTimeout(this.#idle)
    const thread = this.#thread
    this.#thread = undefined
    for (const id of [...this.#open.keys()]) this.#answered(id, undefined)
    clearTimeout(this.#idle)
    void thread?.terminate()
  }

  async #ask(id: number): Promise<void> {
    const asked = this.#open.get(id)
    if (!asked) return
    const { question } = asked
    asked.files = await read(this.#patterns, question.sentMs)
    if (asked.files.length === 0 || !this.#open.has(id)) {
      this.#answered(id, undefined)
      return
    }
    clearTimeout(this.#idle)
    this.#thread ??= this.#start()
    this.#thread.postMessage({ id, question, files: asked.files } satisfies CredentialSearch)
  }

  #start(): Worker {
    const thread = startQuietThread('watch/credential-search-worker', {
      mostHeapMiB: MOST_HEAP_MIB,
      onMessage: message => {
        const { id, stored } = message as CredentialSearchAnswer
        this.#answered(id, stored)
      },
      onEnd: () => {
        if (this.#thread === thread) this.stop()
      },
    })
    return thread
  }

  #answered(id: number, stored: StoredCredential | undefined): void {
    const asked = this.#open.get(id)
    if (!asked) return
    this.#open.delete(id)
    if (stored) asked.found(stored)
    asked.resolve()
    if (this.#open.size === 0 && this.#thread) this.#idle = setTimeout(() => this.stop(), IDLE_MS).unref()
  }
}

interface OpenQuestion {
  readonly question: CredentialQuestion
  readonly found: (stored: StoredCredential) => void
  readonly resolve: () => void
  /** Once they are read. */
  files: readonly CredentialFile[] | undefined
}

async function read(patterns: readonly string[], sentMs: number): Promise<CredentialFile[]> {
  const paths = (await Promise.all(patterns.map(expand))).flat().slice(0, MOST_FILES)
  const files: CredentialFile[] = []
  let bytes = 0
  for (let at = 0; at < paths.length && bytes < MOST_BYTES_OF_ALL; at += FILES_AT_ONCE) {
    const some = await Promise.all(paths.slice(at, at + FILES_AT_ONCE).map(path => readCredentialFile(path, sentMs)))
    for (const file of some.filter(file => file !== undefined)) {
      bytes += file.bytes.byteLength
      files.push(file)
    }
  }
  return files
}

/** As `read`, for a process that exits. */
function readNow(patterns: readonly string[], sentMs: number): CredentialFile[] {
  const paths = patterns.flatMap(pattern => {
    const expansion = expansionOf(pattern)
    let step = expansion.next()
    while (!step.done) step = expansion.next(step.value.map(namesNow))
    return step.value
  })
  return paths.slice(0, MOST_FILES).flatMap(path => readFileNow(path, sentMs) ?? [])
}

async function readCredentialFile(path: string, sentMs: number): Promise<CredentialFile | undefined> {
  try {
    const { stat, readFile } = filePromises()
    const { size } = await stat(path)
    if (size > MOST_BYTES) return undefined
    const bytes = await readFile(path)
    // Asked after the reading: what was written meanwhile is newer too.
    const { mtimeMs } = await stat(path)
    return { bytes, isNewer: mtimeMs > sentMs }
  } catch {
    // A file that is not there says nothing.
    return undefined
  }
}

function readFileNow(path: string, sentMs: number): CredentialFile | undefined {
  try {
    const { size, mtimeMs } = statSync(path)
    return size > MOST_BYTES ? undefined : { bytes: readFileSync(path), isNewer: mtimeMs > sentMs }
  } catch {
    return undefined
  }
}

async function expand(pattern: string): Promise<string[]> {
  const expansion = expansionOf(pattern)
  let step = expansion.next()
  while (!step.done) step = expansion.next(await Promise.all(step.value.map(namesIn)))
  return step.value
}

/** The paths of a pattern. Yields the folders whose names it needs, and is given them. */
function* expansionOf(pattern: string): Generator<readonly string[], string[], readonly (readonly string[])[]> {
  const path = pattern.replace(/^~(?=$|[\\/])/, homedir())
  const { root } = parse(path)
  let found = [root]
  for (const segment of path.slice(root.length).split(sep === '/' ? '/' : /[\\/]/)) {
    if (segment === '*') {
      const folders = found
      const names = yield folders
      found = folders.flatMap((folder, index) => (names[index] ?? []).map(name => join(folder, name)))
    } else found = found.map(folder => join(folder, segment))
    if (found.length > MOST_FILES) found = found.slice(0, MOST_FILES)
  }
  return found
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await filePromises().readdir(folder)
  } catch {
    return []
  }
}

function namesNow(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** Loaded when it is needed: most processes that inherit the preload see no refresh. */
function filePromises() {
  return process.getBuiltinModule('node:fs/promises')
}
