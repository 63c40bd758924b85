import { AsyncLocalStorage } from 'node:async_hooks'
import { isOfClientPackage, sourceKindOf } from './source-kind.ts'
import { captureStack, endOf, notedFrames, noteFrames, putEnd, type RawFrame, SEAM, type StackEnd } from './stack-frames.ts'

/**
 * Deep enough for a refresh behind queues and locks: OpenClaw's has 24 frames of its own, and those of a proxied fetch
 * (Node's, undici's, ours) lie before them. The cost is that of the frames there are, not of the limit.
 */
const MOST_FRAMES = 160
/** Frames of a client library that lie before its caller's when a request is made: those of fetch are about so many. */
const LIBRARY_FRAMES = 24

/** `captureStack`, `runAsEntry` and the function that is the entry. */
const BRIEF_FRAMES = 3

/** Steps before a request whose frames are shown, those that add none apart. */
const MOST_HOPS = 24

/** Frames that are read when a caller asks for them. */
export type NotedFrames = () => readonly RawFrame[]

/** Code that entered a client library. */
export interface AsyncEntry {
  frames: NotedFrames | undefined
  /** Nothing but what runs until it returns is begun by it. */
  readonly isBrief: boolean
  /** A request was made meanwhile. */
  hasMade: boolean
  /** Frames that a caller wants of it; they are noted when it returns. */
  wanted: number
}

/** What led to the code that runs now, step by step, where that is noted. */
export interface AsyncSteps {
  /** Frames of the steps before, nearest first, each step's by themselves. */
  before(): Iterable<readonly RawFrame[]>
  /** Stacks of others who wait for what is begun by the functions that are running. */
  joiners(running: readonly RawFrame[]): readonly (readonly RawFrame[])[]
}

let trailNow: (() => AsyncSteps) | undefined

/** From now on the steps that led to a request are reported with it. @returns Stops that. */
export function recordAsyncSteps(trail: () => AsyncSteps): () => void {
  trailNow = trail
  return () => {
    if (trailNow === trail) trailNow = undefined
  }
}

/** What led to the code that runs now; `undefined` where it is not recorded. */
export function captureAsyncSteps(): AsyncSteps | undefined {
  return trailNow?.()
}

/** For what the library does when that code is no longer on the stack. */
const entered = new AsyncLocalStorage<AsyncEntry>()
/** The entry that is still on the stack. */
let onStack: AsyncEntry | undefined

/**
 * Runs `work` so that whatever it starts, at once or later, is known to have been started by the entry.
 *
 * Within another entry nothing changes: the outer one is the application's.
 *
 * @param note Notes the caller: after `work`, while it is still on the stack, and only where no request was made that did.
 */
export function enter<T>(note: () => NotedFrames, work: () => T): T {
  if (entered.getStore() || onStack?.isBrief) return work()
  const entry: AsyncEntry = { frames: undefined, isBrief: false, hasMade: false, wanted: 0 }
  const before = onStack
  onStack = entry
  try {
    return entered.run(entry, work)
  } finally {
    onStack = before
    entry.frames ??= note()
  }
}

/**
 * As `enter`, where the request is made before `work` returns or else is known again by its handler: that costs a fraction,
 * because the stack is noted where the library's own frames do not lie on it, and no more of it than a caller wants.
 *
 * @param above The function that is the entry.
 */
export function runAsEntry<T>(above: (...args: never[]) => unknown, work: () => T): T {
  if (onStack?.isBrief || entered.getStore()) return work()
  const entry: AsyncEntry = { frames: undefined, isBrief: true, hasMade: false, wanted: 0 }
  const before = onStack
  onStack = entry
  try {
    return work()
  } finally {
    onStack = before
    // Of one that waits in a queue it is not known yet what it is.
    if (!entry.frames && (entry.wanted > 0 || !entry.hasMade)) {
      const most = entry.wanted || MOST_FRAMES
      entry.frames = notedFrames(captureStack(most + BRIEF_FRAMES), above, most)
    }
  }
}

/** The brief entry that is on the stack, else the one that led here. */
export function entryNow(): AsyncEntry | undefined {
  return onStack?.isBrief ? onStack : entered.getStore()
}

/** A brief entry whose request has been answered: no caller asks for its frames any more who has not done so. */
export function forgetEntry(entry: AsyncEntry | undefined): void {
  if (entry?.isBrief) entry.frames = undefined
}

/** A request is made: the entry into the library did not have to wait for that. */
export function noteRequest(): void {
  if (onStack) onStack.hasMade = true
}

/** As `enter`, for an entry that was noted earlier and is no longer on the stack. */
export function resumeEntry<T>(frames: NotedFrames, work: () => T): T {
  return entered.getStore() ? work() : entered.run({ frames, isBrief: false, hasMade: false, wanted: 0 }, work)
}

/** Notes who calls `above`, for `enter`. */
export function noteCaller(above: (...args: never[]) => unknown): NotedFrames {
  return noteFrames(above, MOST_FRAMES)
}

/**
 * Notes the stack of the caller of `above`, and behind it the code that entered the client library, where the library
 * let go of its caller in between: a queue, a timer, a thenable, a promise returned without `await`.
 *
 * @param above Frames up to and including this function are left out.
 * @param options.before Frames of what led here, where that is known otherwise: the request that was redirected.
 * @param options.most Frames of the caller that are noted at most. @default 160
 */
export function captureAsyncStack(
  above: (...args: never[]) => unknown,
  { before, most = MOST_FRAMES }: { before?: NotedFrames | undefined; most?: number } = {},
): NotedFrames {
  const stored = entered.getStore()
  const isBrief = stored === undefined && onStack?.isBrief === true
  const here = isBrief && onStack ? framesOf(onStack, above, most) : noteFrames(above, Math.min(MOST_FRAMES, most + LIBRARY_FRAMES))
  const isHere = isBrief || (stored !== undefined && stored === onStack)
  if (isHere && stored) stored.frames ??= here
  const older = isHere ? undefined : stored?.frames
  const asyncSteps = captureAsyncSteps()
  if (!older && !before && !asyncSteps) return here
  let frames: readonly RawFrame[] | undefined
  return () => {
    frames ??= withTrail(joined(joined(here(), older?.()), before?.()), asyncSteps)
    return frames
  }
}

/**
 * Whether a causal stack is whole: it goes back to a root, with no step between that is not on it. `limit` and `cut` say why
 * it is not.
 *
 * A timer is a root where it runs a function of the application; one of a library is a step of what the library does.
 */
export function wholenessOf(frames: readonly RawFrame[]): Exclude<StackEnd, 'timer'> {
  const end = endOf(frames)
  if (end !== 'timer') return end
  const outermost = outermostCode(frames)
  return outermost !== undefined && sourceKindOf(outermost.file)?.kind === 'application' ? 'root' : 'cut'
}

/** Frames of a brief entry: they are noted as it returns, or at once for a caller that cannot wait. */
function framesOf(entry: AsyncEntry, above: (...args: never[]) => unknown, most: number): NotedFrames {
  entry.wanted = Math.max(entry.wanted, most)
  let frames: readonly RawFrame[] | undefined
  return () => {
    if (!frames) {
      entry.frames ??= noteFrames(above, MOST_FRAMES)
      frames = entry.frames()
    }
    return frames
  }
}

/** Behind a mark, what the steps before add to a stack. Each step was begun by the one behind it. */
function withTrail(frames: readonly RawFrame[], asyncSteps: AsyncSteps | undefined): readonly RawFrame[] {
  let whole = frames
  let end: StackEnd = wholenessOf(frames)
  let hops = 0
  for (const step of asyncSteps?.before() ?? []) {
    if (end === 'cut') end = wholenessOf(step)
    const rest = step.filter(old => old.file !== '' && !old.file.startsWith('node:') && !whole.some(frame => isSame(frame, old)))
    // A step that shows nothing new, such as Node's own or another turn of a loop, is no hop.
    if (rest.length === 0) continue
    whole = [...whole, SEAM, ...rest]
    hops += 1
    if (whole.length >= MOST_FRAMES || hops === MOST_HOPS) return putEnd(whole.slice(0, MOST_FRAMES), end === 'root' ? 'root' : 'limit')
  }
  return whole === frames ? frames : putEnd(whole, end)
}

/** The stack, and behind it what of the older one it does not reach by itself. */
function joined(frames: readonly RawFrame[], older: readonly RawFrame[] | undefined): readonly RawFrame[] {
  if (!older) return frames
  const own = wholenessOf(frames)
  const rest = older.filter(old => !frames.some(frame => isSame(frame, old)))
  return putEnd([...frames, ...rest], own === 'cut' && isCutInClient(frames) ? wholenessOf(older) : own)
}

/** It is the client library that let go of its caller: what entered the library is all that came before. */
function isCutInClient(frames: readonly RawFrame[]): boolean {
  const outermost = outermostCode(frames)
  const place = outermost && sourceKindOf(outermost.file)
  return !place || isOfClientPackage(place)
}

function outermostCode(frames: readonly RawFrame[]): RawFrame | undefined {
  return frames.findLast(({ file }) => sourceKindOf(file) !== null)
}

function isSame(one: RawFrame, other: RawFrame): boolean {
  return one.file === other.file && one.functionName === other.functionName && one.line === other.line && one.column === other.column
}
