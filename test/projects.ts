import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'

/**
 * What the tests of a file need: nothing (`unit`), the sources of the whole repository (`house`), child processes or a whole
 * gateway at work (`processes`), a browser or server program (`programs`).
 */
export type TestKind = 'unit' | 'house' | 'processes' | 'programs'

export const TEST_KINDS: readonly TestKind[] = ['unit', 'house', 'processes', 'programs']

const ROOT = resolve(import.meta.dirname, '..')
const TESTS = join(ROOT, 'test')
const IMPORTED = /\bfrom\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g

/** A file that reaches one of these starts a browser or a server that is no part of this project. */
const PROGRAMS = /^playwright-core$|\/(?:nginx|prometheus-server)\.ts$/
const PROCESSES = /^(?:node:child_process|rolldown)$/

/** The test files of each kind, from the root of the repository: by what a file imports, directly or through other files in `test`. */
export function testFiles(): ReadonlyMap<TestKind, readonly string[]> {
  const files = globSync('**/*.test.ts', { cwd: TESTS })
    .map(file => file.replaceAll(sep, '/'))
    .filter(file => !file.includes('node_modules/'))
    .sort()
  const kinds = Map.groupBy(files, kindOf)
  return new Map(TEST_KINDS.map(kind => [kind, (kinds.get(kind) ?? []).map(file => `test/${file}`)]))
}

function kindOf(file: string): TestKind {
  const reached = [...reachedFrom(join(TESTS, file))]
  if (reached.some(name => PROGRAMS.test(name))) return 'programs'
  if (reached.some(name => PROCESSES.test(name)) || file.startsWith('e2e/')) return 'processes'
  return file.startsWith('house/') ? 'house' : 'unit'
}

/** Modules a file imports: packages by name, files in `test` by path, and what those import. */
function reachedFrom(file: string, reached = new Set<string>()): ReadonlySet<string> {
  for (const [, statement, call] of readFileSync(file, 'utf8').matchAll(IMPORTED)) {
    const specifier = statement ?? call ?? ''
    const path = specifier.startsWith('.') ? resolve(dirname(file), specifier) : undefined
    const name = path ?? specifier
    if (reached.has(name)) continue
    reached.add(name)
    if (path && !relative(TESTS, path).startsWith('..') && existsSync(path)) reachedFrom(path, reached)
  }
  return reached
}
