import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { nodesOf, type SourceFile, type SyntaxNode, sourceFile, sourceFilesIn } from './source-files.ts'

/** Rooms that still export what no other file imports. A room leaves the list when it is clean, and none comes in. */
const NOT_COVERED: readonly string[] = ['src/events']

describe('exports', () => {
  const house = sourceFilesIn('src', 'otel', 'dashboards')
  const importers = [...house, ...sourceFilesIn('bench', 'test', 'examples')]

  it('are all imported by another file: what no file imports is not exported', () => {
    const unused = unusedExports(house, importers).filter(({ room }) => !NOT_COVERED.includes(room))
    expect(unused.map(({ path, name }) => `${path}: ${name}`)).toEqual([])
  })

  it.each([
    ['import', "import { used } from './a.ts'"],
    ['import under another name', "import { used as other } from './a.ts'"],
    ['re-export', "export { used } from './a.ts'"],
    ['whole module', "import * as all from './a.ts'\nall.used()"],
    ['dynamic import', "const { used } = await import('./a.ts')"],
    ['type of a module', "let a: (typeof import('./a.ts'))['used']"],
  ])('count as imported by: %s', (_way, text) => {
    const a = sourceFile('src/tools/a.ts', 'export function used() {}\nexport const UNUSED = 1')
    const names = unusedExports([a], [a, sourceFile('src/tools/b.ts', text)]).map(({ name }) => name)
    expect(names).toEqual(['UNUSED'])
  })
})

interface UnusedExport {
  readonly room: string
  readonly path: string
  readonly name: string
}

function unusedExports(files: readonly SourceFile[], importers: readonly SourceFile[]): UnusedExport[] {
  const imported = new Set(importers.flatMap(file => [...importedNames(file)]))
  return files
    .filter(({ path }) => !isDoor(path))
    .flatMap(({ path, statements }) =>
      statements
        .flatMap(exportedNames)
        .filter(name => !imported.has(`${path}#${name}`))
        .map(name => ({ room: roomOf(path), path, name })),
    )
}

/** `src/store/file-store.ts#fileStore` for each name that a file takes from another one. */
function* importedNames(file: SourceFile): Generator<string> {
  for (const node of nodesOf(file.statements)) {
    const specifier = (node.source as SyntaxNode | null | undefined)?.value
    if (typeof specifier !== 'string' || !specifier.startsWith('.')) continue
    const path = posix.join(posix.dirname(file.path), specifier)
    const names = ((node.specifiers ?? []) as readonly SyntaxNode[]).map(({ imported, local }) => (imported ?? local) as SyntaxNode)
    const isWhole = !node.specifiers || (node.specifiers as readonly SyntaxNode[]).some(({ type }) => type === 'ImportNamespaceSpecifier')
    // Of a whole module every name counts that the file mentions.
    const used = isWhole ? (file.text.match(/\w+/g) ?? []) : names.map(({ name }) => String(name))
    for (const name of used) yield `${path}#${name}`
  }
}

function exportedNames({ type, declaration }: SyntaxNode): string[] {
  if (type !== 'ExportNamedDeclaration' || !declaration) return []
  const declared = ((declaration as SyntaxNode).declarations as SyntaxNode[] | undefined) ?? [declaration as SyntaxNode]
  return declared.map(({ id }) => String((id as SyntaxNode | undefined)?.name))
}

/** A file directly in `src`: what it exports is public, or loaded by Node. */
function isDoor(path: string): boolean {
  return posix.dirname(path) === 'src'
}

function roomOf(path: string): string {
  return path
    .split('/')
    .slice(0, path.startsWith('src/') ? 2 : 1)
    .join('/')
}
