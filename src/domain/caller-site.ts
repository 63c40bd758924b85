import type { CallerKind } from './enums.ts'

/** One frame of a stack: the place in the source where it is known, else in the code that runs. */
export interface Frame {
  readonly functionName: string
  /** Path relative to the application or package, `openclaw/dist/x.js`; empty for a mark between frames. */
  readonly file: string
  readonly line: number
  readonly column: number
  readonly kind: 'application' | 'library'
  readonly isAsync: boolean
  /** Where that is in the bundled, compiled or minified code that runs. */
  readonly generated?: { readonly file: string; readonly line: number; readonly column: number }
}

/** Where a call or acquisition comes from. */
export interface CallerSite {
  readonly kind: CallerKind
  /** `file#function` without the line, or the client's name: survives a release, fit for a metric label. */
  readonly label: string
  /** The frame the label speaks of; absent for a client of the gateway. */
  readonly frame?: Frame
  /** Application and library frames, nearest first. */
  readonly frames: readonly Frame[]
  /** Digest of the frames; equal stacks have equal ids. Empty without frames. */
  readonly stackId: string
}

/** The caller site where no caller was found. */
export const UNKNOWN_CALLER: CallerSite = { kind: 'unknown', label: 'unknown', frames: [], stackId: '' }

/** The caller site of a client that came over HTTP: its name stands where code has file and function. */
export function clientCaller(name: string): CallerSite {
  return { kind: 'client', label: name, frames: [], stackId: '' }
}

/** A stack as text, one frame a line, nearest first. */
export function stackText(frames: readonly Frame[]): string {
  return frames.map(frame => (frame.file === '' ? frame.functionName : frameText(frame))).join('\n')
}

function frameText(frame: Frame): string {
  return `${frame.isAsync ? 'async ' : ''}${frame.functionName} (${placeText(frame)})${generatedText(frame)}`
}

function placeText({ file, line, column }: { readonly file: string; readonly line: number; readonly column: number }): string {
  return `${file}:${line}:${column}`
}

/** Code that reads the source wants the first, code that reads the running code the second. */
function generatedText({ generated }: Frame): string {
  return generated ? ` [${placeText(generated)}]` : ''
}
