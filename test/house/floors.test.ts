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

const CELLAR = ['otel/words.ts', 'otel/genai-semconv.ts', 'otel/names.ts', 'otel/prometheus-name.ts']

const ROOMS: readonly Room[] = [
  { name: 'otel/words.ts', floor: -3, uses: [] },
  { name: 'otel/genai-semconv.ts', floor: -3, uses: [] },
  { name: 'otel/names.ts', floor: -2, uses: CELLAR },
  { name: 'otel/prometheus-name.ts', floor: -1, uses: CELLAR },
  { name: 'src/domain/', floor: 0, uses: [...CELLAR, 'node:'] },
  { name: 'src/tools/', floor: 0, uses: ['node:', '@jridgewell/trace-mapping'] },
  { name: 'src/telemetry/', floor: 1 },
  { name: 'src/store/', floor: 1 },
  { name: 'src/providers/', floor: 1 },
  { name: 'src/simulator/', floor: 1, uses: [...CELLAR, 'src/domain/', 'src/tools/', 'node:', 'express', 'valibot'] },
  { name: 'dashboards/', floor: 1, uses: [...CELLAR, 'node:', '@grafana/grafana-foundation-sdk/'] },
  { name: 'src/auth/', floor: 2 },
  { name: 'src/watch/', floor: 2 },
  { name: 'src/importers/', floor: 2 },
  { name: 'src/recorder/', floor: 2 },
  { name: 'src/calls/', floor: 3 },
  { name: 'src/diagnose/', floor: 3 },
  { name: 'src/options.ts', floor: 4 },
  { name: 'src/ops/', floor: 4 },
  { name: 'src/given-settings.ts', floor: 5 },
  { name: 'src/gateway.ts', floor: 6 },
  { name: 'src/http/', floor: 7 },
  {
    name: 'otel/',
    floor: 8,
    uses: [...CELLAR, 'src/domain/', 'src/tools/', 'src/telemetry/', 'src/recorder/', 'src/watch/', 'node:', '@opentelemetry/'],
  },
  { name: 'src/gatewatch.ts', floor: 9 },
  { name: 'src/demo/', floor: 10 },
  { name: 'src/scenarios/', floor: 10 },
  { name: 'src/cli/', floor: 11 },
  { name: 'src/index.ts', floor: 12 },
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
    ['up', 'src/store/file-store.ts', '../auth/visit.ts', 'src/auth/ is not below src/store/'],
    ['sideways', 'src/store/file-store.ts', '../providers/permit.ts', 'src/providers/ is not below src/store/'],
    ['from below to the top', 'src/cli/main.ts', '../index.ts', 'src/index.ts is not below src/cli/'],
    ['from the cellar', 'otel/names.ts', '../src/domain/credential.ts', 'otel/names.ts may not use src/domain/'],
    ['for a package in the domain', 'src/domain/credential.ts', 'valibot', 'src/domain/ may not use valibot'],
    ['from the roof into auth', 'otel/sdk.ts', '../src/auth/visit.ts', 'otel/ may not use src/auth/'],
    [
      'from the simulator into telemetry',
      'src/simulator/simulator.ts',
      '../telemetry/caller.ts',
      'src/simulator/ may not use src/telemetry/',
    ],
    ['for a file by another ending', 'src/http/server.ts', '../options.js', '../options.js does not end in .ts'],
    ['for a file without an ending', 'src/http/server.ts', './error-answer', './error-answer does not end in .ts'],
    ['out of the house', 'src/http/server.ts', '../../test/support/otlp-receiver.ts', 'test/support/otlp-receiver.ts is in no room'],
  ])('would be noticed to be left: %s', (_way, path, specifier, fault) => {
    for (const text of [`import '${specifier}'`, `export type { A } from '${specifier}'`, `let a: typeof import('${specifier}')`])
      expect(wrongImports(sourceFile(path, text))).toEqual([`${path}: ${fault}`])
  })

  it('would be noticed to lack a room', () => {
    expect(wrongImports(sourceFile('src/attic/box.ts', ''))).toEqual(['src/attic/box.ts: is in no room'])
  })

  it('would be noticed to hold a circle', () => {
    const circle = [
      sourceFile('src/auth/a.ts', "import './b.ts'"),
      sourceFile('src/auth/b.ts', "import type { C } from './c.ts'"),
      sourceFile('src/auth/c.ts', "export * from './a.ts'"),
      sourceFile('src/auth/d.ts', "import './a.ts'"),
    ]
    expect(circlesIn(circle)).toEqual(['src/auth/a.ts -> src/auth/b.ts -> src/auth/c.ts -> src/auth/a.ts'])
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

/** The room with the longest name: `otel/names.ts` is not in `otel/`. */
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
