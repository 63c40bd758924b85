import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { failuresPage } from '../../src/simulator/scenarios/write-failures.ts'

describe('the page of failures', () => {
  it('says what scenarios and rules say; npm run reference renews it', () => {
    expect(readFileSync(new URL('../../dashboards/failures.md', import.meta.url), 'utf8')).toBe(failuresPage())
  })

  it('has no two sections of one name', () => {
    const headings = failuresPage().match(/^### .*$/gm) ?? []
    expect(headings.length).toBeGreaterThan(5)
    expect(new Set(headings).size).toBe(headings.length)
  })
})
