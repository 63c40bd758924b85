import { createHook, executionAsyncId } from 'node:async_hooks'
import { isInstrumentationSuppressed } from '../tools/suppress-instrumentation.ts'
import { type AsyncSteps, recordAsyncSteps } from './async-stack.ts'
import type { RawFrame } from './stack-frames.ts'
import { noteFrames } from './stack-frames.ts'
import { isOfCode, isSameFunction, joinersOf, type NotedStep, type StepTable } from './step-joiners.ts'

/** One step, with its place in the chain that leads back from a request. */
interface Step extends NotedStep {
  /** The step before it in that chain: the one it was begun in, or a farther one, where those between add no frame. */
  before: number
  /** Steps after it that are still in the table. */
  after: number
  /** How long the chain before it is, at most. */
  depth: number
  /** Its resource is gone: only the steps after it still need it. */
  isGone: boolean
}

export const TRACER_BOUNDS = {
  /** Steps that are remembered; the oldest go first. About 2 KiB each. */
  mostSteps: 10_000,
  /** Frames noted of each, five of Node's own hooks among them. */
  mostFrames: 21,
  /** Steps that are followed back from a request. Of them, `async-stack.ts` shows those that add frames. */
  mostFollowed: 1_000,
  /** From this length on a chain is looked through for steps that add no frame: a loop of awaits is a chain without an end. */
  longestChain: 256,
} as const

/**
 * Notes, for every asynchronous step of the process, where it was begun and what it waits for. So the caller of a request
 * is found behind timers, event emitters and queues, and so are those who share a refresh that another caller began.
 *
 * A step is forgotten when its resource is gone and nothing that began in it is left; a chain of steps that add no frame
 * is shortened. What is left of a process that awaits in a loop is a few hundred steps.
 *
 * That makes a process several times slower: it is switched on for a while, and forgets all it knows when it ends.
 */
export class AsyncHooksTracer {
  readonly #steps = new Map<number, Step>()
  /** Steps by the promise they wait for. */
  readonly #waiting = new Map<number, Set<Step>>()
  readonly #init = (id: number, type: string, trigger: number) => this.#note(id, type, trigger)
  readonly #hook = createHook({ init: this.#init, destroy: id => this.#gone(id) })
  /** Ids below it are of the time before. */
  #firstId = 0
  #isNoting = false
  #silence: () => void = () => undefined

  /** Steps that are remembered, and promises that some of them wait for. */
  get sizes(): { readonly steps: number; readonly awaited: number; readonly waiting: number } {
    let waiting = 0
    for (const steps of this.#waiting.values()) waiting += steps.size
    return { steps: this.#steps.size, awaited: this.#waiting.size, waiting }
  }

  start(): void {
    this.#hook.enable()
    this.#silence = recordAsyncSteps(() => this.trail())
  }

  stop(): void {
    this.#silence()
    this.#hook.disable()
    this.#steps.clear()
    this.#waiting.clear()
  }

  /** What led to the code that runs now. */
  trail(): AsyncSteps {
    const now = executionAsyncId()
    const steps = this.#stepsTo(now)
    const contexts = new Set([now, ...steps.map(step => step.id), ...steps.map(step => step.within)])
    const table: StepTable = {
      step: id => this.#steps.get(id),
      steps: () => this.#steps.values(),
      waiting: id => this.#waiting.get(id) ?? [],
      isBefore: id => id < this.#firstId,
    }
    return {
      before: () => framesOf(steps),
      joiners: running => joinersOf(table, { running, contexts }).map(step => this.#wholeStack(step)),
    }
  }

  #note(id: number, type: string, trigger: number): void {
    // What is noted makes steps of its own.
    if (this.#isNoting || isInstrumentationSuppressed()) return
    this.#isNoting = true
    try {
      const within = executionAsyncId()
      const isPromise = type === 'PROMISE'
      const before = this.#steps.get(within)
      this.#keep({
        id,
        isPromise,
        frames: noteFrames(this.#init, TRACER_BOUNDS.mostFrames),
        within,
        awaits: isPromise && trigger !== within ? trigger : undefined,
        before: within,
        after: 0,
        depth: (before?.depth ?? 0) + 1,
        isGone: false,
      })
    } finally {
      this.#isNoting = false
    }
  }

  #keep(step: Step): void {
    if (this.#firstId === 0) this.#firstId = step.id
    this.#steps.set(step.id, step)
    const before = this.#steps.get(step.before)
    if (before) before.after += 1
    if (step.awaits !== undefined) {
      const others = this.#waiting.get(step.awaits)
      if (others) others.add(step)
      else this.#waiting.set(step.awaits, new Set([step]))
    }
    if (step.depth >= TRACER_BOUNDS.longestChain) this.#shorten(step)
    if (this.#steps.size <= TRACER_BOUNDS.mostSteps) return
    const [oldest] = this.#steps.values()
    if (oldest) this.#forget(oldest)
  }

  /** The resource of a step is gone. */
  #gone(id: number): void {
    const step = this.#steps.get(id)
    if (!step) return
    step.isGone = true
    this.#forgetUnneeded(step)
  }

  /** Forgets a step that is gone and that no later one needs, and those before it that this leaves unneeded. */
  #forgetUnneeded(first: Step): void {
    let step: Step | undefined = first
    while (step?.isGone && step.after === 0) {
      this.#forget(step)
      step = this.#steps.get(step.before)
      if (step) step.after -= 1
    }
  }

  #forget(step: Step): void {
    this.#steps.delete(step.id)
    // Who waits for it stays: it is in the table by itself.
    this.#waiting.delete(step.id)
    if (step.awaits === undefined) return
    const others = this.#waiting.get(step.awaits)
    others?.delete(step)
    if (others?.size === 0) this.#waiting.delete(step.awaits)
  }

  /** Takes the steps that add no frame out of the chain before a step; what is still too long is cut off at its end. */
  #shorten(last: Step): void {
    const shown = new Set<RawFrame>(last.frames())
    const kept = [last]
    for (let step = this.#steps.get(last.before); step; step = this.#steps.get(step.before)) {
      const added = step.frames().filter(frame => isOfCode(frame) && !shown.has(frame))
      if (added.length === 0) continue
      for (const frame of added) shown.add(frame)
      kept.push(step)
      if (kept.length * 2 >= TRACER_BOUNDS.longestChain) break
    }
    for (const [index, step] of kept.entries()) {
      step.depth = kept.length - index
      this.#linkTo(step, kept[index + 1])
    }
  }

  /** Has a step follow another one, or none. */
  #linkTo(step: Step, to: Step | undefined): void {
    const from = this.#steps.get(step.before)
    if (from === to) return
    if (to) to.after += 1
    step.before = to?.id ?? 0
    if (!from) return
    from.after -= 1
    this.#forgetUnneeded(from)
  }

  #stepsTo(id: number): Step[] {
    const steps: Step[] = []
    let step = this.#steps.get(id)
    while (step && steps.length < TRACER_BOUNDS.mostFollowed) {
      steps.push(step)
      step = this.#steps.get(step.before)
    }
    return steps
  }

  #wholeStack(step: NotedStep): readonly RawFrame[] {
    const whole: RawFrame[] = [...step.frames()]
    for (const { frames } of this.#stepsTo(step.within))
      whole.push(
        ...frames().filter(frame => !whole.some(known => known === frame || (isSameFunction(known, frame) && known.line === frame.line))),
      )
    return whole
  }
}

/** One after the other: most of them are never asked for. */
function* framesOf(steps: readonly Step[]): Generator<readonly RawFrame[]> {
  for (const { frames } of steps) yield frames()
}
