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
export function endOfSites(sites: readonly NodeJS.CallSite[], most: number): StackEnd {
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
