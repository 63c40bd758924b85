import type { FrameLine } from './answers.ts'

/** The frame a caller site was taken from. */
export interface CallerPlace {
  readonly file: string | undefined
  readonly line: number | undefined
  /** The caller is code of the application, not a library alone. */
  readonly isCode: boolean
}

const LINE = /^(?:async )?(.*?) ?\(?([^()]+?):(\d+):(\d+)\)?$/
/** Folders that hold an application's own code wherever they lie. */
const OWN_FOLDERS = new Set(['src', 'app', 'server', 'test', 'bin', 'scripts'])

/**
 * The frames of a recorded stack, nearest first. A frame is the application's when it is in the same top folder as
 * the caller: the recorded text no longer says which files came from `node_modules`.
 */
export function framesOf(stack: string | undefined, { file, line, isCode }: CallerPlace): FrameLine[] {
  if (stack === undefined || stack === '') return []
  const home = isCode ? topFolder(file) : undefined
  let callerFound = false
  return stack.split('\n').map(text => {
    const [, name = '', path = '', lineText = ''] = LINE.exec(text.trim()) ?? []
    if (path === '') return { name: text.trim(), file: '', line: 0, application: false, caller: false }
    const top = topFolder(path)
    const caller = !callerFound && path === file && (line === undefined || Number(lineText) === line)
    callerFound ||= caller
    const application = caller || (isCode && (top === home || top === undefined || OWN_FOLDERS.has(top)))
    return { name: name || '<anonymous>', file: path, line: Number(lineText), application, caller }
  })
}

/** `undefined` for a file that is in no folder. */
function topFolder(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  const [first, ...rest] = path.split('/')
  return rest.length === 0 ? undefined : first?.startsWith('@') ? `${first}/${rest[0]}` : first
}
