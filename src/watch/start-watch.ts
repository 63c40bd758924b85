import { writeSync } from 'node:fs'
import { GatewayError } from '../domain/gateway-error.ts'
import { requireOwn } from '../tools/own-module.ts'
import { atExit, runGuarded } from '../tools/run-guarded.ts'
import { suppressInstrumentation } from '../tools/suppress-instrumentation.ts'
import type { Observation } from './observation.ts'
import { ProcessWatch } from './process-watch.ts'
import type { WatchDelivery } from './watch-delivery.ts'
import { readWatchSettings, type WatchSettings } from './watch-settings.ts'

/** Observations that wait until what delivers them is loaded. */
const MOST_WAITING = 1_000

/** A watch under way. */
interface StartedWatch {
  /** Ends it: every patch and listener is undone; what was seen is written. Does nothing a second time. */
  stop(): void
}

/**
 * Watches this process, from now to its end.
 *
 * What delivers is loaded when the first request is seen, not at start-up, and no listener of the process is added before:
 * most processes that inherit the preload never send anything that matters.
 *
 * @throws {GatewayError} `GW_CONFIG` when the settings cannot be used.
 */
export function startWatch(): StartedWatch {
  const settings = readWatchSettings(process.env)
  const undo: (() => void)[] = []
  let isOver = false
  const waiting = new Waiting(settings, { onBegin: listen, onFault: stopBecause })
  const watch = new ProcessWatch({ settings, sink: waiting, onFault: stopBecause, onNotice: reportOnce })
  if (settings.deepStacksUntilMs !== undefined)
    undo.push(requireOwn<typeof import('./deep-stacks.ts')>('watch/deep-stacks').traceDeepStacks(settings, report))
  undo.push(() => watch.stop())
  try {
    watch.start()
  } catch (fault) {
    stop()
    throw fault
  }

  /** From the first request on there is something to write when the process ends. */
  function listen(): void {
    undo.push(
      atExit(() =>
        guarded(() => {
          watch.leave()
          waiting.writeNow()
        }),
      ),
    )
    const send = () => guarded(() => waiting.send(() => watch.settle()))
    process.on('beforeExit', send)
    undo.push(() => void process.off('beforeExit', send))
  }
  function guarded(work: () => void): void {
    if (!isOver) runGuarded(work, stopBecause)
  }
  function stop(): void {
    if (isOver) return
    isOver = true
    for (const step of undo.splice(0).reverse()) runGuarded(step, () => undefined)
    runGuarded(
      () => waiting.close(),
      () => undefined,
    )
  }
  /** A fault of the watch ends the watch, and nothing else. */
  function stopBecause(fault: unknown): void {
    if (isOver) return
    stop()
    say('this process is no longer watched', fault)
  }
  return { stop }
}

/** Observations on their way to the delivery, which is loaded a moment after it is known to be needed. */
class Waiting {
  readonly #settings: WatchSettings
  readonly #onBegin: () => void
  readonly #onFault: (fault: unknown) => void
  readonly #queue: Observation[] = []
  #delivery: WatchDelivery | undefined
  #isExpected = false
  #isClosed = false

  /** @param options.onBegin Called once, with the first request that will end in an observation. */
  constructor(settings: WatchSettings, { onBegin, onFault }: { onBegin: () => void; onFault: (fault: unknown) => void }) {
    this.#settings = settings
    this.#onBegin = onBegin
    this.#onFault = onFault
  }

  expect(): void {
    if (this.#isExpected) return
    this.#isExpected = true
    this.#onBegin()
    // While the request is on its way, and without holding a process that is done.
    setImmediate(() => {
      if (!this.#isClosed) runGuarded(() => this.#load(), this.#onFault)
    }).unref()
  }

  /** Until it is known whether anybody wants all of them, there are few. */
  get wantsAll(): boolean {
    return this.#delivery?.wantsAll ?? true
  }

  take(observation: Observation): void {
    if (this.#isClosed) return
    if (this.#delivery) suppressInstrumentation(() => this.#delivery?.take(observation))
    else if (this.#queue.length < MOST_WAITING) this.#queue.push(observation)
  }

  /** The process ends within this turn. */
  writeNow(): void {
    if (this.#queue.length > 0) this.#load()
    this.#delivery?.writeNow()
  }

  /** The process has nothing left to do: what is to be sent elsewhere is sent. @param settle Called before, if anything is. */
  send(settle: () => void): void {
    if (this.#queue.length > 0) this.#load()
    if (!this.#delivery?.wantsAll) return
    settle()
    suppressInstrumentation(() => this.#delivery?.send())
  }

  /** Takes no more; what was seen is written, a moment later. */
  close(): void {
    if (this.#queue.length > 0) this.#load()
    this.#isClosed = true
    void this.#delivery?.close()
  }

  /** Synchronously: a module that is being imported could not be had when the process ends meanwhile. */
  #load(): WatchDelivery {
    this.#delivery ??= suppressInstrumentation(() => {
      const { WatchDelivery } = requireOwn<typeof import('./watch-delivery.ts')>('watch/watch-delivery')
      return new WatchDelivery(this.#settings, {
        onFailure: failure => say('what is seen cannot be recorded', failure),
        onNotice: reportOnce,
        onFault: this.#onFault,
      })
    })
    for (const observation of this.#queue.splice(0)) this.take(observation)
    return this.#delivery
  }
}

/** Lines that were written: each stands on stderr once. */
const written = new Set<string>()

function reportOnce(line: string): void {
  if (written.has(line)) return
  written.add(line)
  report(line)
}

let hasSpoken = false

/** Says once what is wrong, by its type and, where the message is our own, in words. */
function say(what: string, fault: unknown): void {
  if (hasSpoken) return
  hasSpoken = true
  const words = fault instanceof GatewayError ? fault.message : fault instanceof Error ? fault.name : 'unknown fault'
  report(`${what}: ${words}`)
}

function report(line: string): void {
  try {
    writeSync(2, `gatewatch: ${line}\n`)
  } catch {
    // A closed stderr is no reason to break the application.
  }
}
