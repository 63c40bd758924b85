import { AsyncLocalStorage } from 'node:async_hooks'
import { noteFrames, type RawFrame, SEAM } from '../tools/stack-frames.ts'

/**
 * Deep enough for a refresh behind queues and locks: OpenClaw's has 24 frames of its own, and those of a proxied fetch
 * (Node's, undici's, ours) lie before them. The cost is that of the frames there are, not of the limit.
 */
const MOST_FRAMES = 160

/** Frames that are read when somebody asks for them. */
export type NotedFrames = () => readonly RawFrame[]

/** Code that entered a client library. */
interface Entry {
  frames: NotedFrames | undefined
}

/** What led to the code that runs now, step by step, where that is noted. */
export interface Trail {
  /** Frames of the steps before, nearest first, each step's by themselves. */
  before(): readonly (readonly RawFrame[])[]
  /** Stacks of others who wait for what is begun by the functions that are running. */
  joiners(running: readonly RawFrame[]): readonly (readonly RawFrame[])[]
}

let trailNow: (() => Trail) | undefined

/** From now on the steps that led to a request are told with it. @returns Tells them no more. */
export function tellTrails(trail: () => Trail): () => void {
  trailNow = trail
  return () => {
    if (trailNow === trail) trailNow = undefined
  }
}

/** What led to the code that runs now; `undefined` where nobody notes it. */
export function takeTrail(): Trail | undefined {
  return trailNow?.()
}

/** For what the library does when that code is no longer on the stack. */
const entered = new AsyncLocalStorage<Entry>()
/** The entry that is still on the stack. */
let onStack: Entry | undefined

/**
 * Runs `work` so that whatever it starts, at once or later, is known to have been started by the entry.
 *
 * Within another entry nothing changes: the outer one is the application's.
 *
 * @param note Notes the caller: after `work`, while it is still on the stack, and only where no request was made that did.
 */
export function enter<T>(note: () => NotedFrames, work: () => T): T {
  if (entered.getStore()) return work()
  const entry: Entry = { frames: undefined }
  const before = onStack
  onStack = entry
  try {
    return entered.run(entry, work)
  } finally {
    onStack = before
    entry.frames ??= note()
  }
}

/** As `enter`, for an entry that was noted earlier and is no longer on the stack. */
export function enterAgain<T>(frames: NotedFrames, work: () => T): T {
  return entered.getStore() ? work() : entered.run({ frames }, work)
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
 * @param before Frames of what led here, where that is known otherwise: the request that was redirected.
 */
export function noteCausalFrames(above: (...args: never[]) => unknown, before?: NotedFrames): NotedFrames {
  const here = noteFrames(above, MOST_FRAMES)
  const entry = entered.getStore()
  const isHere = entry !== undefined && entry === onStack
  if (isHere) entry.frames ??= here
  const older = isHere ? undefined : entry?.frames
  const trail = takeTrail()
  if (!older && !before && !trail) return here
  let frames: readonly RawFrame[] | undefined
  return () => {
    frames ??= withTrail(joined(joined(here(), older?.() ?? []), before?.() ?? []), trail)
    return frames
  }
}

/** Behind a mark, what the steps before add to a stack. */
function withTrail(frames: readonly RawFrame[], trail: Trail | undefined): readonly RawFrame[] {
  let whole = frames
  for (const step of trail?.before() ?? []) {
    const rest = step.filter(old => old.file !== '' && !old.file.startsWith('node:') && !whole.some(frame => isSame(frame, old)))
    if (rest.length > 0) whole = [...whole, SEAM, ...rest]
    if (whole.length >= MOST_FRAMES) return whole.slice(0, MOST_FRAMES)
  }
  return whole
}

/** The stack, and behind it what of the older one it does not reach by itself. */
function joined(frames: readonly RawFrame[], older: readonly RawFrame[]): readonly RawFrame[] {
  const rest = older.filter(old => !frames.some(frame => isSame(frame, old)))
  return rest.length === 0 ? frames : [...frames, ...rest]
}

function isSame(one: RawFrame, other: RawFrame): boolean {
  return one.file === other.file && one.functionName === other.functionName && one.line === other.line && one.column === other.column
}
