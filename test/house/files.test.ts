import { basename } from 'node:path'
import { describe, expect, it } from 'vitest'
import { nodesOf, type SourceFile, sourceFile, sourceFilesIn } from './source-files.ts'

/** Names that say nothing about what is inside. */
const EMPTY_NAME = /(?:^|[/.-])(?:utils?|helpers?|common|managers?|services?|misc|shared)(?=[/.-])/

describe('the files of the house', () => {
  const house = sourceFilesIn('src', 'otel', 'dashboards')

  it('are called after what they hold', () => {
    expect(house.filter(({ path }) => EMPTY_NAME.test(path)).map(({ path }) => path)).toEqual([])
    for (const path of [
      'src/utils/time.ts',
      'src/refresh/helpers.ts',
      'src/refresh/token-manager.ts',
      'src/common.ts',
      'src/store/store-service.ts',
    ])
      expect(path).toMatch(EMPTY_NAME)
  })

  it('export by name', () => {
    expect(house.flatMap(defaultExports)).toEqual([])
    for (const text of ['export default {}', 'const a = 1; export { a as default }', "export { default } from './b.ts'"])
      expect(defaultExports(sourceFile('src/refresh/a.ts', text))).toEqual(['src/refresh/a.ts'])
  })

  it('write to no console but in the commands', () => {
    expect(house.flatMap(consoleWriters)).toEqual([])
    expect(consoleWriters(sourceFile('src/refresh/a.ts', "console.log('x')"))).toEqual(['src/refresh/a.ts'])
    expect(consoleWriters(sourceFile('src/refresh/a.ts', "const url = 'https://console.example/'"))).toEqual([])
  })
})

function defaultExports({ path, statements }: SourceFile): string[] {
  const isDefault = statements.some(
    ({ type, specifiers }) =>
      type === 'ExportDefaultDeclaration' ||
      (type === 'ExportNamedDeclaration' &&
        (specifiers as { exported: { name: string } }[]).some(({ exported }) => exported.name === 'default')),
  )
  return isDefault && !basename(path).endsWith('.config.ts') ? [path] : []
}

function consoleWriters({ path, statements }: SourceFile): string[] {
  if (/^src\/(?:cli|demo)\//.test(path)) return []
  const writes = [...nodesOf(statements)].some(
    ({ type, object }) => type === 'MemberExpression' && (object as { name?: string }).name === 'console',
  )
  return writes ? [path] : []
}
