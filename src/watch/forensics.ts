import { createHook, executionAsyncId } from 'node:async_hooks'
import type { RawFrame } from '../tools/stack-frames.ts'
import { noteFrames } from '../tools/stack-frames.ts'
import { type Trail, tellTrails } from './causal-stack.ts'
import { isOwnWork } from './own-work.ts'

/** Something that was begun to be gone on with later: a timer, a promise, a socket, a step of a queue. */
interface Step {
  readonly id: number
  readonly frames: () => readonly RawFrame[]
  /** The step in which it was begun. */
  readonly within: number
  /** The promise it waits for, where it is an `await` or a `then`. */
  readonly awaits: number | undefined
}

export const FORENSICS_BOUNDS = {
  /** Steps that are remembered; the oldest go first. About 1 KiB each. */
  mostSteps: 20_000,
  /** Frames noted of each. */
  mostFrames: 16,
  /** Steps that are followed back from a request. */
  mostHops: 24,
  mostJoiners: 50,
} as const

/**
 * Notes, for every asynchronous step of the process, where it was begun and what it waits for. So the caller of a request
 * is found behind timers, event emitters and queues, and so are those who share a refresh that somebody else began.
 *
 * That makes a process several times slower: it is switched on for a while, and forgets all it knows when it ends.
 */
export class Forensics {
  readonly #steps = new Map<number, Step>()
  /** Steps by the promise they wait for. */
  readonly #waiting = new Map<number, Step[]>()
  readonly #init = (id: number, type: string, trigger: number) => this.#note(id, type, trigger)
  readonly #hook = createHook({ init: this.#init })
  #isNoting = false
  #silence: () => void = () => undefined

  start(): void {
    this.#hook.enable()
    this.#silence = tellTrails(() => this.trail())
  }

  stop(): void {
    this.#silence()
    this.#hook.disable()
    this.#steps.clear()
    this.#waiting.clear()
  }

  /** What led to the code that runs now. */
  trail(): Trail {
    const now = executionAsyncId()
    const steps = this.#stepsTo(now)
    const within = new Set([now, ...steps.map(step => step.id), ...steps.map(step => step.within)])
    return {
      before: () => steps.map(({ frames }) => frames()),
      joiners: running => this.#joiners(running, within),
    }
  }

  #note(id: number, type: string, trigger: number): void {
    // What is noted makes steps of its own.
    if (this.#isNoting || isOwnWork()) return
    this.#isNoting = true
    try {
      const isPromise = type === 'PROMISE'
      const within = executionAsyncId()
      const step = {
        id,
        frames: noteFrames(this.#init, FORENSICS_BOUNDS.mostFrames),
        within,
        awaits: isPromise && trigger !== within ? trigger : undefined,
      }
      this.#keep(step)
    } finally {
      this.#isNoting = false
    }
  }

  #keep(step: Step): void {
    this.#steps.set(step.id, step)
    if (step.awaits !== undefined) {
      const others = this.#waiting.get(step.awaits)
      if (others) others.push(step)
      else this.#waiting.set(step.awaits, [step])
    }
    if (this.#steps.size <= FORENSICS_BOUNDS.mostSteps) return
    const [oldest] = this.#steps.keys()
    if (oldest === undefined) return
    this.#steps.delete(oldest)
    this.#waiting.delete(oldest)
  }

  #stepsTo(id: number): Step[] {
    const steps: Step[] = []
    let step = this.#steps.get(id)
    while (step && steps.length < FORENSICS_BOUNDS.mostHops) {
      steps.push(step)
      step = this.#steps.get(step.within)
    }
    return steps
  }

  /**
   * A promise belongs to the request when the function that made it is one the request runs in, called from where that one
   * was. Who waits for it from elsewhere joined; what was made of it on the way (`finally`, `then`) stands for it.
   */
  #joiners(running: readonly RawFrame[], within: ReadonlySet<number>): (readonly RawFrame[])[] {
    const shared = [...this.#steps.values()].filter(step => within.has(step.within) && isOnTheWay(ownFrames(step), running))
    const looked = new Set<Step>()
    const joined = new Map<string, readonly RawFrame[]>()
    for (let next = shared.pop(); next; next = shared.pop()) {
      if (looked.has(next)) continue
      looked.add(next)
      for (const waiter of this.#waiting.get(next.id) ?? []) {
        if (isPartOf(ownFrames(waiter), ownFrames(next))) shared.push(waiter)
        else if (joined.size < FORENSICS_BOUNDS.mostJoiners) joined.set(nameOfWait(waiter), this.#wholeStack(waiter))
      }
    }
    return [...joined.values()]
  }

  #wholeStack(step: Step): readonly RawFrame[] {
    return [step.frames(), ...this.#stepsTo(step.within).map(({ frames }) => frames())].flat()
  }
}

/** How many callers must agree: those of a promise reach further than those of what is awaited. */
const COMPARED = 3

/** Says whether a promise that was made with `made` on the stack is made by a function that `running` runs in. */
function isOnTheWay([maker, ...callers]: readonly RawFrame[], running: readonly RawFrame[]): boolean {
  if (!maker) return false
  const at = running.findIndex(frame => isSameFunction(frame, maker))
  if (at < 0) return false
  const rest = running
    .slice(at + 1)
    .filter(isOfCode)
    .slice(0, COMPARED)
  return rest.every(frame => callers.some(caller => isSameFunction(frame, caller) && frame.line === caller.line))
}

/** Says whether `waiting` is who was on the stack already when what it waits for was made. */
function isPartOf([waiter, ...callers]: readonly RawFrame[], made: readonly RawFrame[]): boolean {
  if (!waiter) return false
  const at = made.findIndex(frame => isSameFunction(frame, waiter))
  return at >= 0 && callers.slice(0, COMPARED).every((caller, index) => isSamePlace(caller, made[at + 1 + index]))
}

/** The same code in the same step is one caller, however many promises it makes of the one it waits for. */
function nameOfWait(step: Step): string {
  const places = ownFrames(step).map(({ file, line, column }) => `${file}:${line}:${column}`)
  return `${step.within} ${places.join(' ')}`
}

function ownFrames(step: Step): readonly RawFrame[] {
  return step.frames().filter(isOfCode)
}

function isOfCode({ file }: RawFrame): boolean {
  return file !== '' && !file.startsWith('node:')
}

function isSameFunction(one: RawFrame, other: RawFrame): boolean {
  return one.functionName === other.functionName && one.file === other.file
}

function isSamePlace(one: RawFrame, other: RawFrame | undefined): boolean {
  return other !== undefined && isSameFunction(one, other) && one.line === other.line && one.column === other.column
}
