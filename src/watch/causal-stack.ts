import { AsyncLocalStorage } from 'node:async_hooks'
import { type RawFrame, takeFrames } from '../tools/stack-frames.ts'

/** Deep enough for a refresh behind queues and locks: OpenClaw's has 24 frames of its own. */
const MOST_FRAMES = 64

/** Frames of the code that entered a client library, for what the library does when that code is no longer on the stack. */
const entered = new AsyncLocalStorage<readonly RawFrame[]>()

/**
 * Runs `work` so that whatever it starts, at once or later, is known to have been started by `frames`.
 *
 * Within another entry nothing changes: the outer one is the application's.
 */
export function enter<T>(frames: () => readonly RawFrame[], work: () => T): T {
  return entered.getStore() ? work() : entered.run(frames(), work)
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
  return joined(joined(frames, entered.getStore() ?? []), before)
}

/** The stack, and behind it what of the older one it does not reach by itself. */
function joined(frames: readonly RawFrame[], older: readonly RawFrame[]): readonly RawFrame[] {
  const rest = older.filter(old => !frames.some(frame => isSame(frame, old)))
  return rest.length === 0 ? frames : [...frames, ...rest]
}

function isSame(one: RawFrame, other: RawFrame): boolean {
  return one.file === other.file && one.functionName === other.functionName && one.line === other.line && one.column === other.column
}
