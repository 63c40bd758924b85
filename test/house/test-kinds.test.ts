import { globSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { describe, expect, it } from 'vitest'
import { testFiles } from '../projects.ts'
import { ROOT } from './source-files.ts'

describe('the kinds of tests', () => {
  const kinds = testFiles()

  it('hold every test file once', () => {
    const all = globSync('test/**/*.test.ts', { cwd: ROOT }).map(file => file.replaceAll(sep, '/'))
    const installed = (file: string) => file.includes('node_modules/')
    expect([...kinds.values()].flat().sort()).toEqual(all.filter(file => !installed(file)).sort())
  })

  it('are found by what a file imports, through other files too', () => {
    expect(kinds.get('house')).toContain('test/house/test-kinds.test.ts')
    expect(kinds.get('processes')).toContain('test/house/package.test.ts')
    expect(kinds.get('processes')).toContain('test/cli/commands.test.ts')
    expect(kinds.get('programs')).toContain('test/dashboards/rules.test.ts')
    expect(kinds.get('programs')).toContain('test/e2e/reverse-proxy.test.ts')
  })
})

// Seen: three hundred servers of finished tests in one process. Why: test files share a process, and a hook that a helper registers
// when it is imported belongs to the first file alone. Fix: the hook stands in a setup file. Issue 23, point 10.
it('a helper of tests registers no hook when it is imported', () => {
  const registersHook = (text: string) => /^(?:afterEach|afterAll|beforeEach|beforeAll)\(/m.test(text)
  const helpers = globSync('test/**/*.ts', { cwd: ROOT }).filter(file => !/node_modules|\.(?:test|spec)\.ts$/.test(file))
  const registering = helpers.filter(file => registersHook(readFileSync(join(ROOT, file), 'utf8')))
  expect(registering.map(file => file.replaceAll(sep, '/'))).toEqual(['test/support/after-each.ts'])
})
