import { createHook, executionAsyncId } from 'node:async_hooks'
import { isInstrumentationSuppressed } from '../tools/suppress-instrumentation.ts'
import { type AsyncSteps, recordAsyncSteps } from './async-stack.ts'
import { noteFrames, type RawFrame, SEAM } from './stack-frames.ts'

/** Something that was begun to be gone on with later: a timer, a promise, a socket, a step of a queue. */
interface NotedStep {
  readonly id: number
  readonly isPromise: boolean
  readonly frames: () => readonly RawFrame[]
  /** The step in which it was begun. */
  readonly within: number
  /** The promise it waits for, where it is an `await` or a `then`. */
  readonly awaits: number | undefined
}

/** The steps of a process that are known. */
interface StepTable {
  step(id: number): NotedStep | undefined
  steps(): Iterable<NotedStep>
  /** Those that wait for a promise. */
  waiting(id: number): Iterable<NotedStep>
  /** Of the time before steps were noted. */
  isBefore(id: number): boolean
}

/** A request that was made. */
interface MadeRequest {
  /** Frames that led to it, nearest first. */
  readonly running: readonly RawFrame[]
  /** Steps that led to it. */
  readonly contexts: ReadonlySet<number>
}

const MOST_JOINERS = 50
/** Frames of Node's own that note a step: they lie before those of the code. */
const HOOKS_FILE = 'node:internal/async_hooks'
/** How many callers must agree: those of a promise reach further than those of what is awaited. */
const COMPARED = 3
/** Steps between a function and where it goes on, at most. */
const MOST_CONTEXTS = 2_000

/**
 * Finds those who joined a request: they wait for what it is made for, and did not begin it.
 *
 * The promise of a function that the request runs in belongs to the request. So does what is made of it by the code which
 * that function returned it to: an `await`, a `then`, a `race` in a helper it was handed to. A caller that waits for one of them
 * from elsewhere joined.
 *
 * @returns Their steps, one for each place that waits.
 */
function joinersOf(table: StepTable, request: MadeRequest): NotedStep[] {
  const functions = new AsyncFunctions(table)
  const made = { stacks: stacksIn(request.running), contexts: request.contexts }
  const shared = [...table.steps()].filter(step => isOfRequest(step, made))
  const looked = new Set<NotedStep>()
  const joined = new Map<string, NotedStep>()
  for (let next = shared.pop(); next; next = shared.pop()) {
    if (looked.has(next)) continue
    looked.add(next)
    for (const waiter of table.waiting(next.id)) {
      const passedOn = passedOnBy(waiter, table)
      if (passedOn) shared.push(passedOn)
      else if (isOfMaker(waiter, next, functions, table)) shared.push(waiter)
      else if (joined.size < MOST_JOINERS) joined.set(nameOfWait(waiter), waiter)
    }
  }
  return [...joined.values()]
}

/** A request, with the stack of each step that led to it. */
interface Made {
  readonly stacks: readonly (readonly RawFrame[])[]
  readonly contexts: ReadonlySet<number>
}

function stacksIn(running: readonly RawFrame[]): RawFrame[][] {
  const stacks: RawFrame[][] = [[]]
  for (const frame of running) {
    if (frame === SEAM) stacks.push([])
    else if (isOfCode(frame)) stacks.at(-1)?.push(frame)
  }
  return stacks
}

/** `return promise` in an async function waits without a frame, in the step of the promise that takes over its end. */
function passedOnBy(waiter: NotedStep, table: StepTable): NotedStep | undefined {
  return ownFrames(waiter).length === 0 ? (table.step(waiter.within) ?? waiter) : undefined
}

/** Says whether a promise is that of a function which the request runs in, called from where that one was. */
function isOfRequest(step: NotedStep, { stacks, contexts }: Made): boolean {
  if (!step.isPromise || !contexts.has(step.within)) return false
  const [maker, ...callers] = ownFrames(step)
  if (!maker) return false
  return stacks.some(stack => {
    const at = stack.findIndex(frame => isSameFunction(frame, maker))
    const here = stack[at]
    // One that runs within `new Promise` is at the place at which the promise was made; else it is the function's own promise.
    if (!here || !(isSamePlace(here, maker) || isOwnPromise(step))) return false
    const rest = stack.slice(at + 1, at + 1 + COMPARED)
    return rest.every(frame => callers.some(caller => isSameFunction(frame, caller) && frame.line === caller.line))
  })
}

/** Says whether `waiter` waits on behalf of the code that has `awaited` to itself: it made it, or had it returned. */
function isOfMaker(waiter: NotedStep, awaited: NotedStep, functions: AsyncFunctions, table: StepTable): boolean {
  const made = ownFrames(awaited)
  const holders = functions.holdersOf(awaited)
  const frames = ownFrames(waiter)
  const isHeld = frames.some((frame, index) =>
    made
      .slice(0, holders)
      .some((holder, at) => isSameFunction(frame, holder) && areSameCallers(frames.slice(index + 1), made.slice(at + 1))),
  )
  return isHeld && goesOnFrom(waiter.within, awaited.within, table)
}

/** Says whether one step led to another; taken for granted where steps between them are forgotten. */
function goesOnFrom(later: number, earlier: number, table: StepTable): boolean {
  let id = later
  for (let count = 0; count < MOST_CONTEXTS; count += 1) {
    if (id === earlier) return true
    const step = table.step(id)
    if (!step) return !table.isBefore(id)
    id = step.within
  }
  return true
}

/** Which functions are async ones, by the promises they made. */
class AsyncFunctions {
  /** Promises that nothing was waited for with, by the step in which they were made. */
  readonly #made: Map<number, NotedStep[]>
  /** Those of them that async functions return, where that was asked: to read frames costs. */
  readonly #own = new Map<number, readonly NotedStep[]>()

  constructor(table: StepTable) {
    this.#made = Map.groupBy(
      [...table.steps()].filter(({ isPromise, awaits }) => isPromise && awaits === undefined),
      ({ within }) => within,
    )
  }

  /** How many of the frames that created a promise can hold it: those that return it, an async function included. */
  holdersOf(step: NotedStep): number {
    const made = ownFrames(step)
    const from = isOwnPromise(step) ? 1 : 0
    const end = made.findIndex((frame, at) => at >= from && (frame.isAsync || this.#wasCalled(step.within, made.slice(at))))
    return end < 0 ? made.length : end + 1
  }

  #wasCalled(within: number, [frame, ...callers]: readonly RawFrame[]): boolean {
    return this.#ownOf(within).some(own => {
      const [maker, ...above] = ownFrames(own)
      return frame !== undefined && maker !== undefined && isSameFunction(maker, frame) && areSameCallers(above, callers)
    })
  }

  #ownOf(within: number): readonly NotedStep[] {
    let own = this.#own.get(within)
    if (!own) {
      own = (this.#made.get(within) ?? []).filter(isOwnPromise)
      this.#own.set(within, own)
    }
    return own
  }
}

/**
 * Says whether a promise is the one that an async function returns: V8 makes it as the function is entered, with no frame of
 * a built-in (`new Promise`, `then`, `race`) between.
 */
function isOwnPromise({ isPromise, awaits, frames }: NotedStep): boolean {
  if (!isPromise || awaits !== undefined) return false
  const maker = frames().find(({ file }) => file !== HOOKS_FILE)
  return maker !== undefined && isOfCode(maker)
}

/** The same code in the same step is one caller, however many promises it makes of the one it waits for. */
function nameOfWait(step: NotedStep): string {
  const places = ownFrames(step).map(({ file, line, column }) => `${file}:${line}:${column}`)
  return `${step.within} ${places.join(' ')}`
}

function ownFrames({ frames }: Pick<NotedStep, 'frames'>): readonly RawFrame[] {
  return frames().filter(isOfCode)
}

/** Code that is not Node's own. */
function isOfCode({ file }: RawFrame): boolean {
  return file !== '' && !file.startsWith('node:')
}

function isSameFunction(one: RawFrame, other: RawFrame): boolean {
  return one.functionName === other.functionName && one.file === other.file
}

/** As far as both are known. Where a function goes on after an `await`, its place is another one than that of the call. */
function areSameCallers(some: readonly RawFrame[], others: readonly RawFrame[]): boolean {
  return some.slice(0, COMPARED).every((frame, index) => {
    const other = others[index]
    return other === undefined || (isSameFunction(frame, other) && (frame.isAsync || other.isAsync || isSamePlace(frame, other)))
  })
}

function isSamePlace(one: RawFrame, other: RawFrame): boolean {
  return isSameFunction(one, other) && one.line === other.line && one.column === other.column
}

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

const TRACER_BOUNDS = {
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
