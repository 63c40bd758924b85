import { createHook, executionAsyncId } from 'node:async_hooks'
import type { RawFrame } from '../tools/stack-frames.ts'
import { noteFrames } from '../tools/stack-frames.ts'
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

/** What led to the code that ran at a moment, and who waits for what it began. */
export interface Trail {
  /** Frames of the steps before, nearest first; each step's by themselves. */
  before(): readonly (readonly RawFrame[])[]
  /** Stacks of others who wait for the promise of one of `functions`, which that code runs in. */
  joiners(running: readonly RawFrame[]): readonly (readonly RawFrame[])[]
}

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
  readonly #hook = createHook({ init: (id, type, trigger) => this.#note(id, type, trigger) })
  #isNoting = false

  start(): void {
    this.#hook.enable()
  }

  stop(): void {
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
        frames: noteFrames(this.#hookAbove, FORENSICS_BOUNDS.mostFrames),
        within,
        awaits: isPromise && trigger !== within ? trigger : undefined,
      }
      this.#keep(step)
    } finally {
      this.#isNoting = false
    }
  }

  /** Node's own frames are left out with everybody else's of Node. */
  readonly #hookAbove = this.#note

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
   * A promise belongs to the request when the function that made it is one the request runs in, and it was made on the way
   * to it. Who waits for it from elsewhere joined; what was made of it on the way (`finally`, `then`) stands for it.
   */
  #joiners(running: readonly RawFrame[], within: ReadonlySet<number>): (readonly RawFrame[])[] {
    const functions = new Set(running.map(nameOf))
    const shared = [...this.#steps.values()].filter(step => within.has(step.within) && functions.has(nameOf(firstOf(step))))
    const looked = new Set<number>()
    const joined: (readonly RawFrame[])[] = []
    for (let next = shared.pop(); next; next = shared.pop()) {
      if (looked.has(next.id)) continue
      looked.add(next.id)
      for (const waiter of this.#waiting.get(next.id) ?? []) {
        if (within.has(waiter.within)) shared.push(waiter)
        else if (joined.length < FORENSICS_BOUNDS.mostJoiners) joined.push(this.#wholeStack(waiter))
      }
    }
    return joined
  }

  #wholeStack(step: Step): readonly RawFrame[] {
    return [step.frames(), ...this.#stepsTo(step.within).map(({ frames }) => frames())].flat()
  }
}

function firstOf(step: Step): RawFrame | undefined {
  return step.frames().find(({ file }) => !file.startsWith('node:'))
}

function nameOf(frame: RawFrame | undefined): string {
  return frame ? `${frame.file}#${frame.functionName}` : ''
}
