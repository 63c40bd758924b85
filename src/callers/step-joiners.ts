import { type RawFrame, SEAM } from './stack-frames.ts'

/** Something that was begun to be gone on with later: a timer, a promise, a socket, a step of a queue. */
export interface NotedStep {
  readonly id: number
  readonly isPromise: boolean
  readonly frames: () => readonly RawFrame[]
  /** The step in which it was begun. */
  readonly within: number
  /** The promise it waits for, where it is an `await` or a `then`. */
  readonly awaits: number | undefined
}

/** The steps of a process that are known. */
export interface StepTable {
  step(id: number): NotedStep | undefined
  steps(): Iterable<NotedStep>
  /** Those that wait for a promise. */
  waiting(id: number): Iterable<NotedStep>
  /** Of the time before steps were noted. */
  isBefore(id: number): boolean
}

/** A request that was made. */
export interface MadeRequest {
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
export function joinersOf(table: StepTable, request: MadeRequest): NotedStep[] {
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

  /** How many of the frames that a promise was made with may have it: as far as it is returned, an async function included. */
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
export function isOfCode({ file }: RawFrame): boolean {
  return file !== '' && !file.startsWith('node:')
}

export function isSameFunction(one: RawFrame, other: RawFrame): boolean {
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
