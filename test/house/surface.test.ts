import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type SourceFile, type SyntaxNode, sourceFile, sourceFilesIn } from './source-files.ts'

/** The functions and classes that the world may import, by door; and how many types. A change here is a decision: what is in it is promised. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  index: ['GatewayError', 'createGatewatch'],
  express: ['requestContext', 'router'],
  gateway: ['createGateway'],
  register: [],
  store: ['fileStore', 'memoryStore'],
}

describe('the public surface', () => {
  const house = new Map(sourceFilesIn('src', 'otel').map(file => [file.path, file]))
  const doors = Object.keys(DOORS).filter(door => door !== 'register')
  const fileOf = (door: string) => house.get(`src/${door}.ts`) as SourceFile

  it('is what was decided, and all that is at the root', async () => {
    const files = [...house.keys()].filter(path => /^src\/[^/]+$/.test(path))
    expect(files.sort()).toEqual(
      Object.keys(DOORS)
        .map(door => `src/${door}.ts`)
        .sort(),
    )
    for (const door of doors) expect(Object.keys(await import(`../../src/${door}.ts`)).sort()).toEqual(DOORS[door])
  })

  it('has one door for each name', () => {
    const names = doors.flatMap(door => exportsOf(fileOf(door)).map(({ name }) => name))
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
  })

  it('is put together in doors that do nothing else', () => {
    expect(doors.flatMap(door => fileOf(door).statements.filter(statement => !statement.source))).toEqual([])
  })

  it('is explained: all of it has a docstring, and so has each method of our own', () => {
    expect(doors.flatMap(door => unexplained(fileOf(door), house))).toEqual([])
  })

  it('would be noticed to be silent', () => {
    const files = [
      sourceFile('src/index.ts', "export { A, type B, C } from './a.ts'\nexport type { D } from './d.ts'"),
      sourceFile(
        'src/a.ts',
        '/** Said. */\nexport class A {\n  /** Said. */\n  a() {}\n  b() {}\n  #c() {}\n}\n// Not said.\nexport type B = 1\nexport { C } from "./d.ts"',
      ),
      sourceFile(
        'src/d.ts',
        '/** Said. */\nexport const DS = [1] as const\nexport type D = (typeof DS)[number]\n/** Of E. */\nconst E = 1\nexport const C = E',
      ),
    ]
    expect(unexplained(files[0] as SourceFile, new Map(files.map(file => [file.path, file])))).toEqual(['A.b', 'B', 'C'])
  })
})

interface Export {
  readonly name: string
  /** The file it comes from and what it is called there. */
  readonly path: string
  readonly localName: string
}

/** What a file hands on from others; `*` when it does not say. */
function exportsOf(file: SourceFile): Export[] {
  return file.statements.flatMap(({ type, source, specifiers }) => {
    const specifier = (source as SyntaxNode | null | undefined)?.value
    if (typeof specifier !== 'string' || !type.startsWith('Export')) return []
    const path = posix.join(posix.dirname(file.path), specifier)
    if (type === 'ExportAllDeclaration') return [{ name: '*', localName: '*', path }]
    const names = specifiers as { exported: SyntaxNode; local: SyntaxNode }[]
    return names.map(({ exported, local }) => ({ name: String(exported.name), localName: String(local.name), path }))
  })
}

function unexplained(index: SourceFile, house: ReadonlyMap<string, SourceFile>): string[] {
  return exportsOf(index).flatMap(({ name, path, localName }) => {
    const file = house.get(path)
    if (!file) return [name]
    const handedOn = exportsOf(file).filter(further => further.name === localName)
    if (handedOn.length > 0)
      return handedOn.flatMap(({ localName: further, path: origin }) => declarationFaults(further, house.get(origin)))
    return declarationFaults(localName, file)
  })
}

function declarationFaults(name: string, file: SourceFile | undefined): string[] {
  const place = file?.statements.findIndex(({ declaration }) => declaration && namesOf(declaration as SyntaxNode).includes(name)) ?? -1
  const statement = file?.statements[place]
  if (!file || !statement) return [name]
  // A closed list and its type are one thing: the docstring stands over the list.
  const explained = isListType(statement, file) ? file.statements[place - 1] : statement
  const silent = methodsOf(statement.declaration as SyntaxNode).filter(method => !isExplained(method, file))
  return [
    ...(explained && isExplained(explained, file) ? [] : [name]),
    ...silent.map(method => `${name}.${(method.key as SyntaxNode).name}`),
  ]
}

function isListType({ start, end }: SyntaxNode, { text }: SourceFile): boolean {
  return /= \(typeof \w+\)\[number\]$/.test(text.slice(start, end))
}

/** The public methods of a class; what it implements is explained where the interface comes from. */
function methodsOf(declaration: SyntaxNode): SyntaxNode[] {
  if (declaration.type !== 'ClassDeclaration' || (declaration.implements as unknown[]).length > 0) return []
  return (declaration.body as { body: SyntaxNode[] }).body.filter(
    ({ type, kind, key }) => type === 'MethodDefinition' && kind !== 'constructor' && (key as SyntaxNode).type !== 'PrivateIdentifier',
  )
}

function namesOf(declaration: SyntaxNode): unknown[] {
  const declared = (declaration.declarations as SyntaxNode[] | undefined) ?? [declaration]
  return declared.map(({ id }) => (id as SyntaxNode | null)?.name)
}

/** Says whether a docstring, and nothing else, stands right before the node. */
function isExplained({ start }: SyntaxNode, { text }: SourceFile): boolean {
  return /\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*$/.test(text.slice(0, start))
}
