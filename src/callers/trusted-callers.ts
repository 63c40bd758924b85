import { registerHooks } from 'node:module'
import type { Uncertainty, Via } from '../domain/enums.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import { sourceOf } from './caller.ts'
import type { RawFrame } from './stack-frames.ts'

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

/** One declared frame of the gate. */
interface GatePattern {
  readonly functionName: string
  /** The file it must be in, by the end of its path; `*` stands for the hash of a bundler. */
  readonly file: RegExp | undefined
}

/** What a stack says of the way of a token request. */
export interface GateVerdict {
  readonly via: Via
  /** Why it is `uncertain`. */
  readonly uncertainty?: Uncertainty
}

interface TrustedCallersOptions {
  /** Functions of the gate of a known application, as `declared`. @default [] */
  readonly preset?: readonly string[]
  /** Whether the code of the application has the functions of the preset. @default always */
  readonly isPresetFound?: () => boolean
  /** Likewise, functions through which everybody comes to the gate, or past it: they are not the caller. @default [] */
  readonly approach?: readonly string[]
}

/**
 * Decides by a stack whether a token request went through the gate that the operator declared.
 *
 * A name is that of the source where a map of the running code is known by now, or that by which it runs: what is a bypass in a
 * minified application may turn out to be the gate when its map has been read.
 */
export class TrustedCallers {
  readonly #declared: readonly GatePattern[]
  readonly #preset: readonly GatePattern[]
  readonly #approach: readonly GatePattern[]
  readonly #isPresetFound: () => boolean
  #isSeen = false

  /** @param declared `NAME` or `file#NAME`: a function, a method (`Class.name` or `name`), and the end of its file's path. */
  constructor(declared: readonly string[], { preset = [], isPresetFound = () => true, approach = [] }: TrustedCallersOptions = {}) {
    this.#declared = declared.map(toPattern)
    this.#preset = preset.map(toPattern)
    this.#approach = approach.map(toPattern)
    this.#isPresetFound = isPresetFound
  }

  /** Whether the gate has been on a stack of this process. */
  get isSeen(): boolean {
    return this.#isSeen
  }

  /**
   * Decides which way a request with this stack took.
   *
   * A gate that the operator names is his word: a whole stack without it is a bypass. Names of a preset may be those of another
   * version, so they count only where the running code has them.
   *
   * @param gap Why the stack may lack frames; absent for a whole one.
   */
  judge(frames: readonly RawFrame[], gap?: Uncertainty): GateVerdict {
    if (this.#declared.length + this.#preset.length === 0) return { via: 'undeclared' }
    if (frames.some(frame => this.#isOfGate(frame))) {
      this.#isSeen = true
      return { via: 'gate' }
    }
    if (gap) return { via: 'uncertain', uncertainty: gap }
    const isNamed = this.#declared.length > 0 || this.#isPresetFound()
    return isNamed ? { via: 'bypass' } : { via: 'uncertain', uncertainty: 'preset_unmatched' }
  }

  /** Index of the first frame outside the gate and its approach: who came there. 0 where neither is on the stack. */
  outside(frames: readonly RawFrame[]): number {
    return frames.findLastIndex(frame => this.#isOfGate(frame) || this.#approach.some(pattern => matches(pattern, frame))) + 1
  }

  #isOfGate(frame: RawFrame): boolean {
    return this.#declared.some(pattern => matches(pattern, frame)) || this.#preset.some(pattern => matches(pattern, frame))
  }
}

function toPattern(declared: string): GatePattern {
  const hash = declared.lastIndexOf('#')
  if (hash < 0) return { functionName: declared, file: undefined }
  const file = declared
    .slice(0, hash)
    .split('*')
    .map(part => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^/]*')
  return { functionName: declared.slice(hash + 1), file: new RegExp(`(?:^|/)${file}$`) }
}

function matches(pattern: GatePattern, frame: RawFrame): boolean {
  if (isNamed(pattern, frame)) return true
  const source = sourceOf(frame)
  return source !== undefined && isNamed(pattern, { ...source, className: frame.className })
}

function isNamed({ functionName, file }: GatePattern, frame: Pick<RawFrame, 'functionName' | 'className' | 'file'>): boolean {
  const { functionName: found, className } = frame
  if (found !== functionName && !found.endsWith(`.${functionName}`) && `${className}.${found}` !== functionName) return false
  return file === undefined || file.test(pathOf(frame.file))
}

function pathOf(file: string): string {
  const [path = ''] = file.replaceAll('\\', '/').split('?')
  return path
}
