import type { Via } from '../../otel/words.ts'
import { sourceOf } from '../telemetry/caller.ts'
import type { RawFrame } from '../tools/stack-frames.ts'

/** One declared frame of the gate. */
interface GatePattern {
  readonly functionName: string
  /** The file it must be in, by the end of its path; `*` stands for the hash of a bundler. */
  readonly file: RegExp | undefined
}

/**
 * Tells by a stack whether a token request went through the gate that the operator declared.
 *
 * A name is that of the source where a map of the running code is known by now, or that by which it runs: what is a bypass in a
 * minified application may turn out to be the gate when its map has been read.
 */
export class GateFrames {
  readonly #patterns: readonly GatePattern[]
  readonly #approach: readonly GatePattern[]

  /**
   * @param declared `NAME` or `file#NAME`: a function, a method (`Class.name` or `name`), and the end of its file's path.
   * @param approach Likewise, functions through which everybody comes to the gate, or past it: they are nobody's caller.
   */
  constructor(declared: readonly string[], approach: readonly string[] = []) {
    this.#patterns = declared.map(toPattern)
    this.#approach = approach.map(toPattern)
  }

  /** `gate` or `bypass`; `undeclared` when nobody said what the gate is. */
  viaOf(frames: readonly RawFrame[]): Via {
    if (this.#patterns.length === 0) return 'undeclared'
    return frames.some(frame => this.#patterns.some(pattern => matches(pattern, frame))) ? 'gate' : 'bypass'
  }

  /** Index of the first frame outside the gate and its approach: who came there. 0 where neither is on the stack. */
  outside(frames: readonly RawFrame[]): number {
    const way = [...this.#patterns, ...this.#approach]
    return frames.findLastIndex(frame => way.some(pattern => matches(pattern, frame))) + 1
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
  return source !== undefined && isNamed(pattern, source)
}

function isNamed({ functionName, file }: GatePattern, frame: Pick<RawFrame, 'functionName' | 'file'>): boolean {
  const { functionName: found } = frame
  if (found !== functionName && !found.endsWith(`.${functionName}`)) return false
  return file === undefined || file.test(pathOf(frame.file))
}

function pathOf(file: string): string {
  const [path = ''] = file.replaceAll('\\', '/').split('?')
  return path
}
