import { type LoadFnOutput, registerHooks } from 'node:module'
import { enter, type NotedFrames, noteCaller, resumeEntry, runAsEntry } from '../callers/async-stack.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import { dispatchesAtOnce, wrapDispatch, wrapShared } from './undici-dispatch.ts'

type Callable = (this: unknown, ...given: unknown[]) => unknown
type Table = Record<string, unknown>

/** A file of a library that lets go of its caller, and the line that is added to it. */
interface AddedLine {
  readonly file: RegExp
  readonly line: (source: string) => string
}

/** Where the added lines find this module; they do nothing when it is not there. */
const DOOR = 'gatewatch entries'
const AT_DOOR = `globalThis[Symbol.for('${DOOR}')]?`
const UNDICI_WAYS = ['request', 'stream', 'pipeline', 'fetch']
/** The ways in which the dispatcher is reached before the function returns. */
const WAYS_AT_ONCE: ReadonlySet<string> = new Set(['request', 'stream', 'pipeline'])

/**
 * Why each loses its caller: undici's queues and interceptors dispatch later; got, gaxios and the SDKs await before they
 * send, or send again; superagent is a thenable; oauth4webapi returns promises without `await`.
 */
const ENTRIES: readonly AddedLine[] = [
  { file: /\/undici[\w-]*\/lib\/dispatcher\/dispatcher-base\.js$/, line: () => `${AT_DOOR}.dispatcher(module.exports)` },
  { file: /\/undici[\w-]*\/index\.js$/, line: () => `${AT_DOOR}.undici(module.exports)` },
  { file: /\/got\/dist\/source\/core\/index\.js$/, line: () => ofClass('Request', 'flush') },
  { file: /\/gaxios\/build\/(?:cjs|esm)\/src\/gaxios\.js$/, line: () => ofClass('Gaxios', 'request') },
  { file: /\/superagent\/lib\/node\/index\.js$/, line: () => `${AT_DOOR}.construction(exports, 'Request', 'request')` },
  { file: /\/oauth4webapi\/build\/index\.js$/, line: ofFunctions },
  { file: /\/openai\/client\.m?js$/, line: () => ofClass('OpenAI', 'makeRequest') },
  { file: /\/@anthropic-ai\/sdk\/client\.m?js$/, line: () => ofClass('BaseAnthropic', 'makeRequest') },
]

/**
 * Keeps the caller, and the async context, of requests whose library lets go of them: what enters the library is noted,
 * and known again when the request is made. A line is added to the files of those libraries as they are loaded; a library
 * that was loaded before, or is bundled into another file, stays unchanged.
 *
 * @returns Puts back what was patched. A function that importers hold already only calls the library's own from then on.
 */
export function patchLibraries({ onFault }: { onFault: (fault: unknown) => void }): () => void {
  if (Symbol.for(DOOR) in globalThis) return () => undefined
  const patches = new Patches()
  const safely =
    <Given extends unknown[]>(work: (...given: Given) => void) =>
    (...given: Given) =>
      void runGuarded(() => work(...given), onFault)
  const door = {
    dispatcher: safely((type: { prototype: object }) => patches.add(wrapDispatch(type))),
    undici: safely((all: Table) => wrapUndici(patches, all)),
    method: safely((prototype: Table, name: string) => wrapMethod(patches, prototype, name)),
    construction: safely((all: Table, name: string, method: string) => wrapConstruction(patches, all, name, method)),
    called: (original: Callable) => wrapped(patches, original),
  }
  Object.defineProperty(globalThis, Symbol.for(DOOR), { value: door, configurable: true })
  const hooks = registerHooks({
    load: (url, context, next) => {
      const loaded = next(url, context)
      return runGuarded(() => withLine(url, loaded), onFault) ?? loaded
    },
  })
  return () => {
    hooks.deregister()
    Reflect.deleteProperty(globalThis, Symbol.for(DOOR))
    patches.undo()
  }
}

/** What was put in the place of the libraries' own functions. */
class Patches {
  readonly #undo: (() => void)[] = []
  #isOn = true

  /** Until they are undone. */
  get isOn(): boolean {
    return this.#isOn
  }

  add(undo: () => void): void {
    this.#undo.push(undo)
  }

  /** Puts a value in the place of another one. */
  put(table: Table, name: string, value: unknown): void {
    const before = Object.getOwnPropertyDescriptor(table, name)
    table[name] = value
    this.add(() => {
      // Over a patch of another library it stays, and does nothing.
      if (table[name] !== value) return
      if (before) Object.defineProperty(table, name, before)
      else Reflect.deleteProperty(table, name)
    })
  }

  undo(): void {
    this.#isOn = false
    for (const undo of this.#undo.splice(0).reverse()) undo()
  }
}

function withLine(url: string, loaded: LoadFnOutput): LoadFnOutput {
  const entry = url.startsWith('file:') ? ENTRIES.find(({ file }) => file.test(url)) : undefined
  if (!entry || loaded.source === null || loaded.source === undefined) return loaded
  const source = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source)
  return { ...loaded, source: `${source}\n;${entry.line(source)};` }
}

function ofClass(name: string, method: string): string {
  return `typeof ${name} === 'function' && ${AT_DOOR}.method(${name}.prototype, '${method}')`
}

/** Declared functions can be put into another one's place from within their module, and importers see it. */
function ofFunctions(source: string): string {
  const names = [...source.matchAll(/^export async function (\w+Request)\(/gm)].map(([, name]) => name)
  return names.map(name => `${name} = ${AT_DOOR}.called(${name}) ?? ${name}`).join(';')
}

/** How a call of a function is an entry: not at all, for what it begins later too, or for what it does before it returns. */
type WayIn = 'no' | 'lasting' | 'brief'
type JudgeCall = (given: readonly unknown[], self: unknown) => WayIn

/** Calls `original` as an entry, where `judge` says so of what it is given. */
function wrapped(patches: Patches, original: Callable, judge: JudgeCall = () => 'lasting'): Callable {
  function entry(this: unknown, ...given: unknown[]): unknown {
    const wayIn = patches.isOn ? judge(given, this) : 'no'
    if (wayIn === 'no') return Reflect.apply(original, this, given)
    const go = () => Reflect.apply(original, this, given)
    return wayIn === 'brief' ? runAsEntry(entry, go) : enter(() => noteCaller(entry), go)
  }
  for (const key of ['name', 'length'] as const) Object.defineProperty(entry, key, { value: original[key], configurable: true })
  return entry
}

function wrapMethod(patches: Patches, prototype: Table, name: string, judge?: JudgeCall): void {
  const original = prototype[name]
  if (typeof original === 'function') patches.put(prototype, name, wrapped(patches, original as Callable, judge))
}

/** The functions and dispatcher methods of a copy of undici. */
function wrapUndici(patches: Patches, all: Table): void {
  const { prototype = {} } = (all.Dispatcher ?? {}) as { prototype?: Table }
  for (const name of UNDICI_WAYS) {
    const wayIn = (dispatcher: unknown) => (WAYS_AT_ONCE.has(name) && dispatchesAtOnce(dispatcher) ? 'brief' : 'lasting')
    wrapMethod(patches, all, name, ([input, options]) => {
      const wanted = options === undefined ? input : options
      return isPost(wanted) ? wayIn(wanted.dispatcher) : 'no'
    })
    wrapMethod(patches, prototype, name, ([options], self) => (isPost(options) ? wayIn(self) : 'no'))
  }
  wrapShared()
}

/** Notes who makes an object, for what its method does when no caller is on the stack any more. */
function wrapConstruction(patches: Patches, all: Table, name: string, method: string): void {
  const original = all[name] as { prototype: Table } & (new (...given: unknown[]) => object)
  const makers = new WeakMap<object, NotedFrames>()
  const made = new Proxy(original, {
    construct: function construct(target, given, newTarget) {
      const it = Reflect.construct(target, given, newTarget) as object
      if (patches.isOn) makers.set(it, noteCaller(construct))
      return it
    },
  })
  const inner = original.prototype[method] as Callable
  patches.put(original.prototype, method, function (this: object, ...given: unknown[]) {
    const maker = makers.get(this)
    const go = () => Reflect.apply(inner, this, given)
    return maker ? resumeEntry(maker, go) : go()
  })
  patches.put(all, name, made)
}

function isPost(options: unknown): options is { readonly method: 'POST'; readonly dispatcher?: unknown } {
  return typeof options === 'object' && options !== null && (options as { method?: unknown }).method === 'POST'
}
