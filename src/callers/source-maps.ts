import type { Worker } from 'node:worker_threads'
import { ownModule } from '../tools/own-module.ts'
import { type GeneratedPlace, mayHaveMap, type OriginalPlace, readOriginals } from './source-map-file.ts'

/** Bounds of what is read and remembered. */
export const SOURCE_MAP_BOUNDS = {
  /** Longest file, and longest map, that a thread of its own reads. */
  mostBytes: 64 * 1024 * 1024,
  /** The same for a process that ends and cannot wait for that thread. */
  mostBytesAtEnd: 4 * 1024 * 1024,
  mostFiles: 2_000,
  mostPlaces: 50_000,
  /** The thread ends when it had nothing to do for so long. */
  idleMs: 5_000,
} as const

/** A question to the thread. */
interface Question {
  readonly path: string
  readonly places: readonly GeneratedPlace[]
}

/** What is known of a file's places by line and column; `undefined` for one that the map does not know. */
type Places = Map<string, OriginalPlace | undefined>

/**
 * The places of bundled, compiled and minified code in its sources, as far as they are known yet.
 *
 * Looking one up is a matter of two tables. What is not in them is asked of a thread of its own, and known a moment
 * later; nothing here waits, throws, or fetches anything.
 */
export class SourceMaps {
  /** `undefined` for files without a map. */
  readonly #files = new Map<string, Places | undefined>()
  readonly #open = new Map<number, Question>()
  readonly #waiting: (() => void)[] = []
  #knownPlaces = 0
  #questions = 0
  #worker: Worker | undefined
  #isBroken = false
  #idle: NodeJS.Timeout | undefined
  #version = 0

  /** Grows when something became known. */
  get version(): number {
    return this.#version
  }

  /** Places are being looked up. */
  get isBusy(): boolean {
    return this.#open.size > 0
  }

  /** The place in the source, where it is known yet. @param path Absolute path of the generated file. */
  find(path: string, place: GeneratedPlace): OriginalPlace | undefined {
    return this.#files.get(path)?.get(keyOf(place))
  }

  /** Has places looked up that are not known yet, where the file has a map. */
  want(path: string, places: readonly GeneratedPlace[]): void {
    const known = this.#placesOf(path)
    if (!known || this.#isBroken) return
    const missing = places.filter(place => !known.has(keyOf(place)))
    if (missing.length === 0) return
    // Asked once, whatever comes of it.
    for (const place of missing) known.set(keyOf(place), undefined)
    this.#knownPlaces += missing.length
    this.#ask({ path, places: missing })
  }

  /** Resolves when what is asked now is answered. Never rejects, holds no process. */
  settled(): Promise<void> {
    return this.isBusy ? new Promise(resolve => this.#waiting.push(resolve)) : Promise.resolve()
  }

  /** Answers what is asked now, here and at once; maps of more than `mostBytes` stay unread. */
  settleNow(mostBytes: number = SOURCE_MAP_BOUNDS.mostBytesAtEnd): void {
    for (const [id, { path, places }] of [...this.#open]) this.#answered(id, readOriginals(path, places, mostBytes))
  }

  #placesOf(path: string): Places | undefined {
    if (this.#files.has(path)) return this.#files.get(path)
    if (this.#files.size >= SOURCE_MAP_BOUNDS.mostFiles || this.#knownPlaces >= SOURCE_MAP_BOUNDS.mostPlaces) {
      this.#files.clear()
      this.#knownPlaces = 0
    }
    const places: Places | undefined = mayHaveMap(path) ? new Map() : undefined
    this.#files.set(path, places)
    return places
  }

  #ask(question: Question): void {
    this.#questions += 1
    const id = this.#questions
    this.#open.set(id, question)
    try {
      this.#worker ??= this.#start()
      clearTimeout(this.#idle)
      this.#worker.postMessage({ id, ...question, mostBytes: SOURCE_MAP_BOUNDS.mostBytes })
    } catch {
      this.#break()
    }
  }

  #start(): Worker {
    // Loaded when there is a map to read: most processes never get here.
    const { Worker } = process.getBuiltinModule('node:worker_threads')
    // Without the options of the process: its preloads are not for this thread.
    const worker = new Worker(ownModule('callers/source-map-worker'), {
      execArgv: [],
      env: {},
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: 512 },
    })
    worker.on('message', ({ id, originals }: { id: number; originals: (OriginalPlace | undefined)[] }) => this.#answered(id, originals))
    worker.on('error', () => this.#break())
    // After the listeners, which hold the process: this thread never does.
    worker.unref()
    return worker
  }

  #answered(id: number, originals: readonly (OriginalPlace | undefined)[]): void {
    const question = this.#open.get(id)
    if (!question) return
    this.#open.delete(id)
    const known = this.#files.get(question.path)
    for (const [index, place] of question.places.entries()) known?.set(keyOf(place), originals[index])
    this.#version += 1
    if (!this.isBusy) this.#rest()
  }

  /** A process that may have no threads, or a map that no thread can hold: places stay as they are. */
  #break(): void {
    this.#isBroken = true
    this.#open.clear()
    this.#rest()
  }

  #rest(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => {
      void this.#worker?.terminate()
      this.#worker = undefined
    }, SOURCE_MAP_BOUNDS.idleMs).unref()
  }
}

function keyOf({ line, column }: GeneratedPlace): string {
  return `${line}:${column}`
}
