import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { importsOf, type SourceFile, sourceFile, sourceFilesIn } from './source-files.ts'

/** A folder, or a file that is a room of its own. */
interface Room {
  readonly name: string
  readonly floor: number
  /** Rooms and packages it may use; without it, every room below and every package. */
  readonly uses?: readonly string[]
}

const CELLAR = ['src/domain/enums.ts', 'otel/genai-semconv.ts', 'otel/semconv.ts', 'otel/prometheus-name.ts']

const ROOMS: readonly Room[] = [
  { name: 'src/domain/enums.ts', floor: -3, uses: [] },
  { name: 'otel/genai-semconv.ts', floor: -3, uses: [] },
  { name: 'otel/semconv.ts', floor: -2, uses: CELLAR },
  { name: 'otel/prometheus-name.ts', floor: -1, uses: CELLAR },
  { name: 'src/tools/', floor: -1, uses: ['node:'] },
  { name: 'src/domain/', floor: 0, uses: [...CELLAR, 'node:'] },
  { name: 'src/simulator/', floor: 1, uses: [...CELLAR, 'src/domain/', 'src/tools/', 'node:', 'express', 'valibot'] },
  { name: 'dashboards/', floor: 1, uses: [...CELLAR, 'node:', '@grafana/grafana-foundation-sdk/', 'yaml'] },
  {
    name: 'src/callers/',
    floor: 1,
    uses: [...CELLAR, 'src/domain/', 'src/tools/', 'node:', '@jridgewell/trace-mapping', '@opentelemetry/api'],
  },
  { name: 'src/providers/', floor: 1 },
  { name: 'src/store/', floor: 1 },
  { name: 'src/telemetry/', floor: 2 },
  { name: 'src/http-clients/', floor: 2 },
  { name: 'otel/sdk/', floor: 3 },
  { name: 'src/token-requests/', floor: 3 },
  { name: 'src/events/', floor: 4 },
  { name: 'src/refresh/', floor: 4 },
  { name: 'src/login/', floor: 4 },
  { name: 'src/importers/', floor: 4 },
  { name: 'src/watch/', floor: 5 },
  { name: 'src/calls/', floor: 5 },
  { name: 'src/diagnose/', floor: 5 },
  { name: 'src/settings/', floor: 6 },
  { name: 'src/register.ts', floor: 6 },
  { name: 'src/ops/', floor: 6 },
  { name: 'src/gatewatch/', floor: 7 },
  { name: 'src/server/', floor: 9 },
  { name: 'otel/write-reference.ts', floor: 9 },
  { name: 'otel/pipeline/', floor: 9, uses: ['node:'] },
  { name: 'src/express.ts', floor: 10 },
  { name: 'src/gateway.ts', floor: 10 },
  { name: 'src/store.ts', floor: 10 },
  { name: 'src/simulator/demo/', floor: 11 },
  { name: 'src/simulator/scenarios/', floor: 11 },
  { name: 'src/cli/', floor: 12 },
  { name: 'src/index.ts', floor: 13 },
]

describe('the floors of the house', () => {
  const house = sourceFilesIn('src', 'otel', 'dashboards')

  it('are only ever looked down from', () => {
    expect(house.length).toBeGreaterThan(100)
    expect(house.flatMap(wrongImports)).toEqual([])
  })

  it('hold no circle of files, not even of types', () => {
    expect(circlesIn(house)).toEqual([])
  })

  it.each([
    ['up', 'src/store/file-store.ts', '../refresh/acquire.ts', 'src/refresh/ is not below src/store/'],
    ['sideways', 'src/store/file-store.ts', '../providers/permit.ts', 'src/providers/ is not below src/store/'],
    ['from below to the top', 'src/cli/main.ts', '../index.ts', 'src/index.ts is not below src/cli/'],
    ['from the cellar', 'otel/semconv.ts', '../src/domain/credential.ts', 'otel/semconv.ts may not use src/domain/'],
    ['for a package in the domain', 'src/domain/credential.ts', 'valibot', 'src/domain/ may not use valibot'],
    [
      'from the pipeline into the package',
      'otel/pipeline/stack.ts',
      '../../src/refresh/acquire.ts',
      'otel/pipeline/ may not use src/refresh/',
    ],
    [
      'from the simulator into telemetry',
      'src/simulator/simulator.ts',
      '../telemetry/caller.ts',
      'src/simulator/ may not use src/telemetry/',
    ],
    ['for a file by another ending', 'src/server/server.ts', '../options.js', '../options.js does not end in .ts'],
    ['for a file without an ending', 'src/server/server.ts', './error-answer', './error-answer does not end in .ts'],
    ['out of the house', 'src/server/server.ts', '../../test/support/otlp-receiver.ts', 'test/support/otlp-receiver.ts is in no room'],
  ])('would be noticed to be left: %s', (_way, path, specifier, fault) => {
    for (const text of [`import '${specifier}'`, `export type { A } from '${specifier}'`, `let a: typeof import('${specifier}')`])
      expect(wrongImports(sourceFile(path, text))).toEqual([`${path}: ${fault}`])
  })

  it('would be noticed to lack a room', () => {
    expect(wrongImports(sourceFile('src/attic/box.ts', ''))).toEqual(['src/attic/box.ts: is in no room'])
  })

  it('would be noticed to hold a circle', () => {
    const circle = [
      sourceFile('src/refresh/a.ts', "import './b.ts'"),
      sourceFile('src/refresh/b.ts', "import type { C } from './c.ts'"),
      sourceFile('src/refresh/c.ts', "export * from './a.ts'"),
      sourceFile('src/refresh/d.ts', "import './a.ts'"),
    ]
    expect(circlesIn(circle)).toEqual(['src/refresh/a.ts -> src/refresh/b.ts -> src/refresh/c.ts -> src/refresh/a.ts'])
  })
})

function wrongImports(file: SourceFile): string[] {
  const room = roomOf(file.path)
  if (!room) return [`${file.path}: is in no room`]
  const faults: string[] = []
  for (const { specifier } of importsOf(file)) {
    const fault = faultOf(room, file, specifier)
    if (fault) faults.push(`${file.path}: ${fault}`)
  }
  return faults
}

function faultOf(room: Room, file: SourceFile, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return mayUse(room, specifier) ? undefined : `${room.name} may not use ${specifier}`
  if (!specifier.endsWith('.ts')) return `${specifier} does not end in .ts`
  const path = targetOf(file, specifier)
  const target = roomOf(path)
  if (!target) return `${path} is in no room`
  if (target === room) return undefined
  if (!mayUse(room, target.name)) return `${room.name} may not use ${target.name}`
  return target.floor < room.floor ? undefined : `${target.name} is not below ${room.name}`
}

function mayUse({ uses }: Room, name: string): boolean {
  return uses === undefined || uses.some(used => name === used || (/[/:]$/.test(used) && name.startsWith(used)))
}

/** The room with the longest name: `otel/semconv.ts` is not in `otel/`. */
function roomOf(path: string): Room | undefined {
  const rooms = ROOMS.filter(({ name }) => (name.endsWith('/') ? path.startsWith(name) : path === name))
  return rooms.sort((a, b) => b.name.length - a.name.length)[0]
}

function targetOf(file: SourceFile, specifier: string): string {
  return posix.join(posix.dirname(file.path), specifier)
}

function circlesIn(files: readonly SourceFile[]): string[] {
  const targets = new Map(files.map(file => [file.path, importsOf(file).map(({ specifier }) => targetOf(file, specifier))]))
  const circles: string[] = []
  const done = new Set<string>()
  const visit = (path: string, way: readonly string[]): void => {
    const start = way.indexOf(path)
    if (start >= 0) circles.push([...way.slice(start), path].join(' -> '))
    if (start >= 0 || done.has(path)) return
    for (const target of targets.get(path) ?? []) visit(target, [...way, path])
    done.add(path)
  }
  for (const path of targets.keys()) visit(path, [])
  return circles
}
