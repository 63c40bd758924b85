import { AsyncLocalStorage } from 'node:async_hooks'
import { noteFrames, type RawFrame, takeFrames } from '../tools/stack-frames.ts'

/**
 * Deep enough for a refresh behind queues and locks: OpenClaw's has 24 frames of its own, and those of a proxied fetch
 * (Node's, undici's, ours) lie before them. The cost is that of the frames there are, not of the limit.
 */
const MOST_FRAMES = 160

/** Code that entered a client library. */
export interface Entry {
  readonly frames: () => readonly RawFrame[]
}

/** For what the library does when that code is no longer on the stack. */
const entered = new AsyncLocalStorage<Entry>()
/** The entry that is still on the stack. */
let onStack: Entry | undefined

/**
 * Runs `work` so that whatever it starts, at once or later, is known to have been started by the entry.
 *
 * Within another entry nothing changes: the outer one is the application's.
 */
export function enter<T>(noted: () => Entry['frames'], work: () => T): T {
  if (entered.getStore()) return work()
  const entry = { frames: noted() }
  const before = onStack
  onStack = entry
  try {
    return entered.run(entry, work)
  } finally {
    onStack = before
  }
}

/** As `enter`, for an entry that was noted earlier and is no longer on the stack. */
export function enterAgain<T>(frames: Entry['frames'], work: () => T): T {
  return entered.getStore() ? work() : entered.run({ frames }, work)
}

/** Notes who calls `above`, for `enter`. */
export function noteCaller(above: (...args: never[]) => unknown): Entry['frames'] {
  return noteFrames(above, MOST_FRAMES)
}

/**
 * Takes the stack of the caller of `above`, and behind it the code that entered the client library, where the library
 * let go of its caller in between: a queue, a timer, a thenable, a promise returned without `await`.
 *
 * @param above Frames up to and including this function are left out.
 * @param before Frames of what led here, where that is known otherwise: the request that was redirected.
 */
export function takeCausalFrames(above: (...args: never[]) => unknown, before: readonly RawFrame[] = []): readonly RawFrame[] {
  const frames = takeFrames(above, MOST_FRAMES)
  const entry = entered.getStore()
  return joined(joined(frames, entry && entry !== onStack ? entry.frames() : []), before)
}

/** The stack, and behind it what of the older one it does not reach by itself. */
function joined(frames: readonly RawFrame[], older: readonly RawFrame[]): readonly RawFrame[] {
  const rest = older.filter(old => !frames.some(frame => isSame(frame, old)))
  return rest.length === 0 ? frames : [...frames, ...rest]
}

function isSame(one: RawFrame, other: RawFrame): boolean {
  return one.file === other.file && one.functionName === other.functionName && one.line === other.line && one.column === other.column
}
