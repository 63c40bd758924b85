import { globSync, readFileSync } from 'node:fs'
import { join, resolve, sep } from 'node:path'
import { parseAst } from 'vitest/node'

/** Where the repository lies. */
export const ROOT = resolve(import.meta.dirname, '../..')

/** A node of a syntax tree, as far as the house rules look at one. */
export interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** A file of the house, read and parsed; or one made up by a test to break a rule. */
export interface SourceFile {
  /** From the root of the repository, with slashes. */
  readonly path: string
  readonly text: string
  readonly statements: readonly SyntaxNode[]
}

/** One file that another one leans on, whatever the way it is written. */
export interface Import {
  readonly specifier: string
  /** Gone when the file runs. */
  readonly typeOnly: boolean
  /** `import('...')` */
  readonly dynamic: boolean
}

/** `text` as the file at `path`; it is parsed when its statements are first asked for. */
export function sourceFile(path: string, text: string): SourceFile {
  let statements: readonly SyntaxNode[] | undefined
  return {
    path,
    text,
    get statements() {
      statements ??= parseAst(text, { lang: 'ts' }).body as unknown as SyntaxNode[]
      return statements
    },
  }
}

/** Every test of a process looks at the same files. */
const parsed = new Map<string, SourceFile>()

/** The TypeScript files of the folders that exist; nothing that is installed or built. */
export function sourceFilesIn(...folders: readonly string[]): SourceFile[] {
  return folders
    .flatMap(folder => globSync(`${folder}/**/*.ts`, { cwd: ROOT }))
    .map(path => path.replaceAll(sep, '/'))
    .filter(path => !path.includes('node_modules/'))
    .sort()
    .map(path => {
      const file = parsed.get(path) ?? sourceFile(path, readFileSync(join(ROOT, path), 'utf8'))
      parsed.set(path, file)
      return file
    })
}

/** Every node of a file, outermost first. */
export function* nodesOf(value: unknown): Generator<SyntaxNode> {
  if (Array.isArray(value)) for (const item of value) yield* nodesOf(item)
  else if (typeof value === 'object' && value !== null) {
    if (typeof (value as SyntaxNode).type === 'string') yield value as SyntaxNode
    for (const child of Object.values(value)) yield* nodesOf(child)
  }
}

/** What a file imports and re-exports: statements, `import()` and `typeof import()`. */
export function importsOf(file: SourceFile): Import[] {
  const imports: Import[] = []
  for (const node of nodesOf(file.statements)) {
    const specifier = (node.source as SyntaxNode | null | undefined)?.value
    if (typeof specifier !== 'string') continue
    imports.push({ specifier, dynamic: node.type === 'ImportExpression', typeOnly: isTypeOnly(node) })
  }
  return imports
}

/** The texts a file holds: string literals and the fixed parts of templates, types included, comments left out. */
export function textsOf(file: SourceFile): string[] {
  const texts: string[] = []
  for (const node of nodesOf(file.statements)) {
    if (node.type === 'Literal' && typeof node.value === 'string') texts.push(node.value)
    else if (node.type === 'TemplateElement') texts.push((node.value as { cooked: string }).cooked)
  }
  return texts
}

function isTypeOnly(node: SyntaxNode): boolean {
  if (node.type === 'TSImportType' || node.importKind === 'type' || node.exportKind === 'type') return true
  const names = (node.specifiers ?? []) as readonly SyntaxNode[]
  return names.length > 0 && names.every(name => name.importKind === 'type' || name.exportKind === 'type')
}
