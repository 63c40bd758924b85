import { globSync } from 'node:fs'
import { sep } from 'node:path'
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
