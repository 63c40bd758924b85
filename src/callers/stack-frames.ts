import { endOfSites, type StackEnd } from './stack-end.ts'

/** One call site as V8 gives it: raw file and position, nothing mapped, nothing shortened. */
export interface RawFrame {
  /** Absolute path or URL; empty for native code. */
  readonly file: string
  readonly line: number
  readonly column: number
  readonly functionName: string
  readonly isAsync: boolean
  /** Where the function begins. */
  readonly start?: { readonly line: number; readonly column: number } | undefined
}

/** Stands between the frames of a stack and those of the code that scheduled it. */
export const SEAM: RawFrame = { file: 'gatewatch:seam', line: 0, column: 0, functionName: '--- scheduled at ---', isAsync: false }

const MOST_FRAMES = 32

/**
 * Takes the stack of the caller of `above`, synchronously, `await` chains included.
 *
 * `util.getCallSites` has no async frames, `Error.captureStackTrace` has; so the structured sites are taken through a
 * `prepareStackTrace` that is put back at once. That works whatever the application did to `stackTraceLimit` or
 * `prepareStackTrace`, and never reads `.stack` as text (which is two to three times slower with source maps on).
 *
 * @param above Frames up to and including this function are left out.
 * @param most Frames taken at most.
 * @returns No frames where the application has locked `Error` up (frozen it, or guards it with accessors). Never throws.
 */
export function takeFrames(above: (...args: never[]) => unknown, most = MOST_FRAMES): RawFrame[] {
  return (
    withSites(() => {
      const holder: { stack?: unknown } = {}
      const { stackTraceLimit } = Error
      try {
        Error.stackTraceLimit = most
        Error.captureStackTrace(holder, above)
        return framesIn(holder)
      } finally {
        Error.stackTraceLimit = stackTraceLimit
      }
    }) ?? []
  )
}

/**
 * Notes the stack of the caller of `above` as it is now, for frames that may never be asked for: that costs a third of
 * what `takeFrames` does.
 *
 * @returns Gives the frames, as `takeFrames` would have; `endOf` says where they end.
 */
export function noteFrames(above: (...args: never[]) => unknown, most = MOST_FRAMES): () => readonly RawFrame[] {
  const holder: { stack?: unknown } = {}
  let frames: readonly RawFrame[] | undefined
  try {
    const { stackTraceLimit } = Error
    try {
      Error.stackTraceLimit = most
      Error.captureStackTrace(holder, above)
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  } catch {
    frames = []
  }
  return () => {
    frames ??= withSites(() => endedFramesIn(holder, most)) ?? []
    return frames
  }
}

/** Where stacks end that `noteFrames` gave, or `putEnd` was asked to remember. */
const ends = new WeakMap<readonly RawFrame[], StackEnd>()

/** Where a stack ends; `cut` for frames that did not come from `noteFrames`. */
export function endOf(frames: readonly RawFrame[]): StackEnd {
  return ends.get(frames) ?? 'cut'
}

/** Notes where a stack ends that was put together from others. @returns The same frames. */
export function putEnd(frames: readonly RawFrame[], end: StackEnd): readonly RawFrame[] {
  ends.set(frames, end)
  return frames
}

/** Does `work` while stacks are read as structured sites. @returns `undefined` where the application forbids that. */
function withSites<T>(work: () => T): T | undefined {
  try {
    const { prepareStackTrace } = Error
    try {
      Error.prepareStackTrace = (_error, sites) => sites
      return work()
    } finally {
      Error.prepareStackTrace = prepareStackTrace as typeof Error.prepareStackTrace
    }
  } catch {
    // Who asks is worth knowing, never worth breaking the call of who asks.
    return undefined
  }
}

/** V8 reads a stack when it is first looked at, and with what is set up at that moment. */
function framesIn({ stack }: { stack?: unknown }): RawFrame[] {
  return Array.isArray(stack) ? (stack as NodeJS.CallSite[]).map(toRawFrame) : []
}

function endedFramesIn(holder: { stack?: unknown }, most: number): RawFrame[] {
  const frames = framesIn(holder)
  if (Array.isArray(holder.stack)) ends.set(frames, endOfSites(holder.stack as NodeJS.CallSite[], most))
  return frames
}

/** Frames by file and position: line and column are counted once for each place in the code, not once for each call. */
const seen = new Map<string, Map<number, RawFrame>>()
const MOST_SEEN = 50_000
let seenFrames = 0

function toRawFrame(site: NodeJS.CallSite): RawFrame {
  const file = site.getFileName() ?? ''
  const isAsync = site.isAsync()
  const place = site.getPosition() * 2 + Number(isAsync)
  const functionName = site.getFunctionName() ?? '<anonymous>'
  const known = seen.get(file)?.get(place)
  // Code that was loaded again under its old name has other functions in the same places.
  if (known?.functionName === functionName) return known
  const start = { line: site.getEnclosingLineNumber() ?? 0, column: site.getEnclosingColumnNumber() ?? 0 }
  const frame = { file, line: site.getLineNumber() ?? 0, column: site.getColumnNumber() ?? 0, functionName, isAsync, start }
  if (file !== '') remember(frame, place)
  return frame
}

function remember(frame: RawFrame, place: number): void {
  if (seenFrames >= MOST_SEEN) {
    seen.clear()
    seenFrames = 0
  }
  seenFrames += 1
  const inFile = seen.get(frame.file)
  if (inFile) inFile.set(place, frame)
  else seen.set(frame.file, new Map([[place, frame]]))
}
