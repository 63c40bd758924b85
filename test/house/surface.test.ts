import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type SourceFile, type SyntaxNode, sourceFile, sourceFilesIn } from './source-files.ts'

/** What the world may import. A change here is a decision: what is in it is promised. */
const VALUES = [
  'bypasses',
  'callerTable',
  'createGatewatch',
  'fallbackTable',
  'fileStore',
  'GatewayError',
  'memoryStore',
  'refreshes',
  'trace',
  'acquisitionTable',
]
const TYPES = [
  'AcquireResult',
  'ApiKeyCredential',
  'WrapRefreshOptions',
  'AsyncFunction',
  'ReadFromCall',
  'Resolved',
  'ValueOrReader',
  'WrappedOperation',
  'CallAnswer',
  'CallOptions',
  'AcquireTokenOptions',
  'Credential',
  'FileStoreOptions',
  'TokenRequestOutcome',
  'Gatewatch',
  'GatewatchOptions',
  'GatewayErrorCode',
  'Lease',
  'LeaseOptions',
  'NextStep',
  'OAuthCredential',
  'ProbeResult',
  'ProfileSnapshot',
  'ProfileState',
  'ProfileStore',
  'Recorder',
  'RefreshReason',
  'Serving',
  'StoredProfile',
  'TokenCredential',
  'WrapCallOptions',
  'WrapOperationOptions',
]

describe('the public surface', () => {
  const house = new Map(sourceFilesIn('src', 'otel').map(file => [file.path, file]))
  const index = house.get('src/index.ts') as SourceFile

  it('is what was decided', async () => {
    const exported = exportsOf(index)
    expect(exported.map(({ name }) => name).sort()).toEqual([...VALUES, ...TYPES].sort())
    expect(Object.keys(await import('../../src/index.ts')).sort()).toEqual([...VALUES].sort())
  })

  it('is put together in an index that does nothing else', () => {
    expect(index.statements.filter(statement => !statement.source)).toEqual([])
  })

  it('is explained: all of it has a docstring, and so has each method of our own', () => {
    expect(unexplained(index, house)).toEqual([])
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
