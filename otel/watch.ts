import { writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { GatewayError } from '../src/domain/gateway-error.ts'
import type { Observation } from '../src/watch/observation.ts'
import { asOwnWork } from '../src/watch/own-work.ts'
import { ProcessWatch } from '../src/watch/process-watch.ts'
import { readWatchSettings, type WatchSettings } from '../src/watch/watch-settings.ts'
import type { WatchDelivery } from './watch-delivery.ts'

/** Observations that wait until what delivers them is loaded. */
const MOST_WAITING = 1_000

/**
 * Watches this process, from now to its end.
 *
 * What delivers is loaded when the first request is seen, not at start-up: most processes that inherit the preload
 * never send anything that matters.
 *
 * @throws {GatewayError} `GW_CONFIG` when the settings cannot be used.
 */
export function startWatch(): void {
  let isOver = false
  const settings = readWatchSettings(process.env)
  const waiting = new Waiting(settings, stop)
  const watch = new ProcessWatch({ settings, sink: waiting, onFault: stop })
  const endForensics = settings.forensicUntilMs === undefined ? () => undefined : load('forensic-watch').watchForensically(settings, tell)
  const onExit = () => {
    guarded(() => {
      watch.leave()
      waiting.writeNow()
    })
  }
  const onBeforeExit = () => guarded(() => waiting.send())
  process.on('exit', onExit)
  process.on('beforeExit', onBeforeExit)

  function guarded(work: () => void): void {
    if (isOver) return
    try {
      work()
    } catch (fault) {
      stop(fault)
    }
  }
  /** A fault of the watch ends the watch, and nothing else. */
  function stop(fault: unknown): void {
    if (isOver) return
    isOver = true
    try {
      endForensics()
      process.off('exit', onExit)
      process.off('beforeExit', onBeforeExit)
      watch.stop()
    } catch {
      // What cannot be stopped is at least said.
    }
    say('this process is no longer watched', fault)
  }
}

/** Observations on their way to the delivery, which is loaded a moment after it is known to be needed. */
class Waiting {
  readonly #settings: WatchSettings
  readonly #onFault: (fault: unknown) => void
  readonly #queue: Observation[] = []
  #delivery: WatchDelivery | undefined
  #isExpected = false

  constructor(settings: WatchSettings, onFault: (fault: unknown) => void) {
    this.#settings = settings
    this.#onFault = onFault
  }

  expect(): void {
    if (this.#isExpected) return
    this.#isExpected = true
    // While the request is on its way, and without holding a process that is done.
    setImmediate(() => {
      try {
        this.#load()
      } catch (fault) {
        this.#onFault(fault)
      }
    }).unref()
  }

  /** Until it is known whether anybody wants all of them, there are few. */
  get wantsAll(): boolean {
    return this.#delivery?.wantsAll ?? true
  }

  take(observation: Observation): void {
    if (this.#delivery) asOwnWork(() => this.#delivery?.take(observation))
    else if (this.#queue.length < MOST_WAITING) this.#queue.push(observation)
  }

  /** The process ends within this turn. */
  writeNow(): void {
    if (this.#queue.length > 0) this.#load()
    this.#delivery?.writeNow()
  }

  /** The process has nothing left to do: what is to be sent elsewhere is sent. */
  send(): void {
    if (this.#queue.length > 0) this.#load()
    asOwnWork(() => this.#delivery?.send())
  }

  /** Synchronously: a module that is being imported could not be had when the process ends meanwhile. */
  #load(): WatchDelivery {
    this.#delivery ??= asOwnWork(() => {
      const { WatchDelivery } = load('watch-delivery')
      return new WatchDelivery(this.#settings, failure => say('what is seen cannot be recorded', failure))
    })
    for (const observation of this.#queue.splice(0)) this.take(observation)
    return this.#delivery
  }
}

interface Loaded {
  readonly 'watch-delivery': typeof import('./watch-delivery.ts')
  readonly 'forensic-watch': typeof import('./forensic-watch.ts')
}

/** Loads a file of this folder now, which most processes never need. */
function load<Name extends keyof Loaded>(name: Name): Loaded[Name] {
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return createRequire(import.meta.url)(`./${name}.${ending}`) as Loaded[Name]
}

let hasSpoken = false

/** Says once what is wrong, by its type and, where the message is our own, in words. */
function say(what: string, fault: unknown): void {
  if (hasSpoken) return
  hasSpoken = true
  const words = fault instanceof GatewayError ? fault.message : fault instanceof Error ? fault.name : 'unknown fault'
  tell(`${what}: ${words}`)
}

function tell(line: string): void {
  try {
    writeSync(2, `gatewatch: ${line}\n`)
  } catch {
    // A closed stderr is no reason to break the application.
  }
}
