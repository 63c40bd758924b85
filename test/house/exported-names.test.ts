import { describe, expect, it } from 'vitest'
import { type SourceFile, type SyntaxNode, sourceFile, sourceFilesIn } from './source-files.ts'

/** Sample applications: what they export are their functions, named as those of an application are, and some of them are the same. */
const SAMPLES = /\/(?:demo|application)\//

describe('exported names', () => {
  const files = sourceFilesIn('src', 'otel', 'dashboards').filter(({ path }) => !SAMPLES.test(path))

  it('are unique in the package', () => {
    expect(files.length).toBeGreaterThan(100)
    expect(sharedNames(files)).toEqual([])
  })

  it('are found where two files declare the same one', () => {
    const pair = [
      sourceFile('src/a.ts', 'export const A = 1\nexport type B = string\nfunction c() {}'),
      sourceFile('src/b.ts', 'export interface B {}\nexport function c() {}\nexport class A {}'),
    ]
    expect(sharedNames(pair)).toEqual(['A: src/a.ts, src/b.ts', 'B: src/a.ts, src/b.ts'])
  })

  it('count once for a value and its type in one file, and not where they are handed on', () => {
    const files = [
      sourceFile('src/a.ts', 'export const KINDS = [1] as const\nexport type Kind = (typeof KINDS)[number]\nexport const Kind = 1'),
      sourceFile('src/b.ts', "export { KINDS } from './a.ts'\nexport type { Kind } from './a.ts'"),
    ]
    expect(sharedNames(files)).toEqual([])
  })
})

/** Names that more than one file declares and exports, each with its files. */
function sharedNames(files: readonly SourceFile[]): string[] {
  const declaredIn = new Map<string, Set<string>>()
  for (const { path, statements } of files) {
    for (const name of statements.flatMap(declaredNames)) declaredIn.set(name, (declaredIn.get(name) ?? new Set()).add(path))
  }
  return [...declaredIn]
    .filter(([, paths]) => paths.size > 1)
    .map(([name, paths]) => `${name}: ${[...paths].sort().join(', ')}`)
    .sort()
}

function declaredNames({ type, declaration }: SyntaxNode): string[] {
  if (type !== 'ExportNamedDeclaration' || !declaration) return []
  const declared = ((declaration as SyntaxNode).declarations as SyntaxNode[] | undefined) ?? [declaration as SyntaxNode]
  return declared.map(({ id }) => String((id as SyntaxNode | undefined)?.name))
}
