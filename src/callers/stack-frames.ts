/**
 * Where a stack ends. `root`: at code that runs because of nothing else in the program: the evaluation of a module, an inbound
 * request, a signal. `timer`: at a function that a timer runs. `limit`: more frames exist than were taken. `cut`: at code whose
 * caller is not on the stack: V8 follows `await` and promises with one reaction each, not a callback handed to anything else.
 */
export type StackEnd = 'root' | 'timer' | 'limit' | 'cut'

/** Files of Node whose functions run the microtasks and ticks: what is below them on the stack did not call what is above. */
const TURNS = 'node:internal/process/task_queues'
/** Files of Node that evaluate modules, scripts and `--eval`. */
const EVALUATION = /^node:internal\/(?:modules\/|main\/|process\/execution)/
/** Functions of Node that hand over what comes in from outside, by their file. */
const INBOUND: Readonly<Record<string, string>> = {
  'node:_http_server': 'parserOnIncoming',
  'node:internal/http2/core': 'sessionOnStream',
  'node:internal/http2/compat': 'onServerStream',
  'node:net': 'onconnection',
}
/** Classes of Node whose events come from outside; as the receiver of a function that is no method of theirs they mark a listener. */
const EMITTERS: ReadonlySet<string> = new Set(['Server', 'Http2Server', 'Http2SecureServer', 'process'])
const TIMERS = 'node:internal/timers'
const TIMER_FUNCTIONS: ReadonlySet<string> = new Set(['listOnTimeout', 'processTimers'])

/**
 * Says where a stack ends. Pure; costs a look at its last frames.
 *
 * @param sites The stack as V8 gives it: frames that are running, then those that await them.
 * @param most Frames that were taken at most.
 */
function endOfSites(sites: readonly NodeJS.CallSite[], most: number): StackEnd {
  const last = sites.at(-1)
  if (!last) return 'cut'
  if (sites.length >= most) return 'limit'
  // Frames that await are at the end of the stack; what ran the microtask is of no interest then.
  if (last.isAsync()) return endAtFunction(last)
  const turn = sites.findIndex(site => fileOf(site) === TURNS)
  const outermost = sites.slice(0, turn < 0 ? undefined : turn).findLast(site => !isOfNode(site))
  if (turn >= 0 || !isOfNode(last)) return outermost ? endAtFunction(outermost) : 'cut'
  return endAtNode(sites.slice(outermost ? sites.indexOf(outermost) + 1 : 0), outermost)
}

/** The end of a stack whose outermost function was resumed by a microtask, or run by a tick. */
function endAtFunction(site: NodeJS.CallSite): StackEnd {
  if (isModule(site) || EVALUATION.test(fileOf(site))) return 'root'
  const type = site.getTypeName()
  if (isTimerCallback(site, type)) return 'timer'
  return type !== null && EMITTERS.has(type) && isNoMethod(site) ? 'root' : 'cut'
}

/** The end of a stack that goes down to functions of Node, which something outside of JavaScript called. */
function endAtNode(callers: readonly NodeJS.CallSite[], outermost: NodeJS.CallSite | undefined): StackEnd {
  const isRoot = callers.some(site => EVALUATION.test(fileOf(site)) || INBOUND[fileOf(site)] === site.getFunctionName())
  if (isRoot) return 'root'
  const last = callers.at(-1)
  if (last && fileOf(last) === TIMERS && TIMER_FUNCTIONS.has(last.getFunctionName() ?? '')) return 'timer'
  // A signal is emitted with nothing else on the stack.
  return outermost?.getTypeName() === 'process' && isNoMethod(outermost) ? 'root' : 'cut'
}

/** A module itself is a function without a name that begins where its file does. Only modules with `await` are resumed. */
function isModule(site: NodeJS.CallSite): boolean {
  return site.getFunctionName() === null && site.getEnclosingLineNumber?.() === 1 && site.getEnclosingColumnNumber?.() === 1
}

function isTimerCallback(site: NodeJS.CallSite, type: string | null): boolean {
  // A timer that has been cleared no longer has the function as its method.
  return type === 'Timeout' && (site.getMethodName() === '_onTimeout' || isNoMethod(site))
}

/** A listener is called with its emitter as `this`. So are private methods and those under symbols, whose names V8 does not find. */
function isNoMethod(site: NodeJS.CallSite): boolean {
  return site.getMethodName() === null && !/^[#[]/.test(site.getFunctionName() ?? '')
}

function isOfNode(site: NodeJS.CallSite): boolean {
  const file = fileOf(site)
  return file === '' || file.startsWith('node:')
}

function fileOf(site: NodeJS.CallSite): string {
  return site.getFileName() ?? ''
}

/** One call site as V8 gives it: raw file and position, nothing mapped, nothing shortened. */
export interface RawFrame {
  /** Absolute path or URL; empty for native code. */
  readonly file: string
  readonly line: number
  readonly column: number
  readonly functionName: string
  /** Class of the object whose method it is; V8 does not put it into the name. */
  readonly className?: string | undefined
  readonly isAsync: boolean
  /** Where the function begins. */
  readonly start?: { readonly line: number; readonly column: number } | undefined
}

/** Stands between the frames of a stack and those of the code that scheduled it. */
export const SEAM: RawFrame = { file: 'gatewatch:seam', line: 0, column: 0, functionName: '--- scheduled at ---', isAsync: false }

const MOST_FRAMES = 32
/** The application may put another one in its place. */
const PlainError = Error

/** What holds a stack that V8 reads when it is first looked at. */
interface Captured {
  readonly stack?: unknown
}

/**
 * Takes the stack of the caller of `above`, synchronously, `await` chains included.
 *
 * `util.getCallSites` has no async frames, an `Error` has; so the structured sites are taken through a `prepareStackTrace` that is
 * put back at once. That works whatever the application did to `stackTraceLimit` or `prepareStackTrace`, and never reads `.stack` as
 * text (which is two to three times slower with source maps on).
 *
 * @param above Frames up to and including this function are left out.
 * @param most Frames taken at most.
 * @returns No frames where the application has locked `Error` up (frozen it, or guards it with accessors). Never throws.
 */
export function takeFrames(above: (...args: never[]) => unknown, most = MOST_FRAMES): RawFrame[] {
  const captured = captureStack(most, above)
  return (captured && withSites(() => sitesOf(captured).map(toRawFrame))) ?? []
}

/**
 * Captures the current stack of the caller of `above` for frames that may never be read: a third of the cost of `takeFrames`.
 *
 * @returns Gives the frames, as `takeFrames` would have; `endOf` says where they end.
 */
export function noteFrames(above: (...args: never[]) => unknown, most = MOST_FRAMES): () => readonly RawFrame[] {
  return framesLater(captureStack(most, above), sitesOf, most)
}

/** As `noteFrames`, of a stack that `captureStack` captured with all frames of ours down to `above` and `most` of the caller's. */
export function notedFrames(captured: Captured | undefined, above: (...args: never[]) => unknown, most: number): () => readonly RawFrame[] {
  return framesLater(captured, holder => sitesBelow(above, holder), most)
}

function framesLater(
  captured: Captured | undefined,
  read: (captured: Captured) => readonly NodeJS.CallSite[],
  most: number,
): () => readonly RawFrame[] {
  let frames: readonly RawFrame[] | undefined
  return () => {
    frames ??= (captured && withSites(() => endedFrames(read(captured).slice(0, most), most))) ?? []
    return frames
  }
}

/**
 * Captures the stack. Without `above` our own frames are captured with it: where few of those lie before the caller's, that takes a third
 * less than `Error.captureStackTrace`, which leaves them out and defines an accessor on an object.
 *
 * @param limit Frames that are captured, those of this function and its callers included where `above` is not given. Each costs as much as the next.
 * @param above Frames up to and including this function are left out.
 * @returns `undefined` where the application has locked `Error` up.
 */
export function captureStack(limit: number, above?: (...args: never[]) => unknown): Captured | undefined {
  try {
    const { stackTraceLimit } = PlainError
    try {
      PlainError.stackTraceLimit = limit
      if (!above) return new PlainError()
      const holder: Captured = {}
      PlainError.captureStackTrace(holder, above)
      return holder
    } finally {
      PlainError.stackTraceLimit = stackTraceLimit
    }
  } catch {
    return undefined
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

function sitesOf({ stack }: Captured): readonly NodeJS.CallSite[] {
  return Array.isArray(stack) ? (stack as NodeJS.CallSite[]) : []
}

/** The sites of the callers of `above`, where they were captured together with those of what it called. */
function sitesBelow(above: (...args: never[]) => unknown, captured: Captured): readonly NodeJS.CallSite[] {
  const sites = sitesOf(captured)
  const at = sites.findIndex(site => (site.getFunctionName() ?? '') === above.name)
  return at < 0 ? [] : sites.slice(at + 1)
}

function endedFrames(sites: readonly NodeJS.CallSite[], most: number): readonly RawFrame[] {
  return putEnd(sites.map(toRawFrame), endOfSites(sites, most))
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
  const className = site.getTypeName() ?? undefined
  const frame = { file, line: site.getLineNumber() ?? 0, column: site.getColumnNumber() ?? 0, functionName, className, isAsync, start }
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
