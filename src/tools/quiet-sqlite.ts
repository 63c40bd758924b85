type Sqlite = typeof import('node:sqlite')

let loaded: Sqlite | undefined

/**
 * `node:sqlite`, loaded on first use, without a word on the host's stderr.
 *
 * Node 22 warns when the module is loaded ("SQLite is an experimental feature"). Loading is synchronous and so is the
 * call of `process.emitWarning` in it: that function is replaced for the moment of the load, lets every other warning
 * through, and is back before anybody else can run.
 */
export function quietSqlite(): Sqlite {
  loaded ??= withoutSqliteWarning(() => process.getBuiltinModule('node:sqlite'))
  return loaded
}

function withoutSqliteWarning<T>(load: () => T): T {
  const before = Object.getOwnPropertyDescriptor(process, 'emitWarning')
  // Whoever has locked the function will see the warning.
  if (!before?.configurable || typeof before.value !== 'function') return load()
  const warn = before.value as (...parameters: unknown[]) => void
  const quiet = (...parameters: unknown[]): void => {
    if (!String(parameters[0]).startsWith('SQLite is ')) Reflect.apply(warn, process, parameters)
  }
  Object.defineProperty(process, 'emitWarning', { ...before, value: quiet })
  try {
    return load()
  } finally {
    Object.defineProperty(process, 'emitWarning', before)
  }
}
