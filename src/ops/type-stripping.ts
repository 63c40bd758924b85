/**
 * The JavaScript of a TypeScript module of the page, its types blanked out and its imports named as the browser asks
 * for them.
 *
 * Node calls `stripTypeScriptTypes` experimental and says so once on stderr; the function that says it is replaced for
 * the moment of the call, as `quietSqlite` does, and lets every other warning through.
 *
 * @param strip `stripTypeScriptTypes` of `node:module`.
 */
export function scriptOf(source: string, strip: (source: string) => string): string {
  return quietly(() => strip(source)).replaceAll(/(from '\.\/[\w-]+)\.ts'/g, "$1.js'")
}

function quietly<T>(work: () => T): T {
  const before = Object.getOwnPropertyDescriptor(process, 'emitWarning')
  if (!before?.configurable || typeof before.value !== 'function') return work()
  const warn = before.value as (...parameters: unknown[]) => void
  const quiet = (...parameters: unknown[]): void => {
    if (!String(parameters[0]).startsWith('stripTypeScriptTypes ')) Reflect.apply(warn, process, parameters)
  }
  Object.defineProperty(process, 'emitWarning', { ...before, value: quiet })
  try {
    return work()
  } finally {
    Object.defineProperty(process, 'emitWarning', before)
  }
}
