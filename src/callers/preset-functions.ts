import { registerHooks } from 'node:module'
import { runGuarded } from '../tools/run-guarded.ts'

/**
 * Looks for the functions that a preset names in the code that the process loads: a version of the application that
 * lacks them has its gate elsewhere, and no stack shows whether a request came through it.
 */
export class PresetFunctions {
  readonly #missing: Set<string>

  /** @param names `NAME`, `Class.NAME` or `file#NAME`, as in a preset. */
  constructor(names: readonly string[]) {
    this.#missing = new Set(names.map(name => name.slice(Math.max(name.lastIndexOf('#'), name.lastIndexOf('.')) + 1)))
  }

  /** Looks from now on. @param onFault Gets what goes wrong; the application loads its code all the same. @returns Stops it. */
  start(onFault: (fault: unknown) => void): () => void {
    const hooks = registerHooks({
      load: (url, context, next) => {
        const loaded = next(url, context)
        if (this.#missing.size > 0) runGuarded(() => this.#look(loaded.source), onFault)
        return loaded
      },
    })
    return () => hooks.deregister()
  }

  /** All of them are in the code that was loaded so far. */
  get areFound(): boolean {
    return this.#missing.size === 0
  }

  #look(source: unknown): void {
    const text = typeof source === 'string' ? source : bytesOf(source)
    if (text === undefined) return
    for (const name of this.#missing) if (text.includes(name) && definitionOf(name).test(String(text))) this.#missing.delete(name)
  }
}

/** A declared function, a method, or a function that is the value of a variable or property. */
function definitionOf(name: string): RegExp {
  const own = name.replace(/[$]/g, '\\$&')
  return new RegExp(
    `function\\s*\\*?\\s*${own}\\s*\\(|(?:^|[;{}\\n]|async\\s)\\s*${own}\\s*\\([^)]*\\)\\s*\\{|\\b${own}\\s*[=:]\\s*(?:async\\b|function\\b|\\()`,
  )
}

/** Bytes are not made a text before it is known that they hold a name: most files hold none. */
function bytesOf(source: unknown): Buffer | undefined {
  if (ArrayBuffer.isView(source)) return Buffer.from(source.buffer, source.byteOffset, source.byteLength)
  return source instanceof ArrayBuffer ? Buffer.from(source) : undefined
}
