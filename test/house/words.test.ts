import { globSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './source-files.ts'

/**
 * Words and turns of stories. The subject of a sentence is a named thing of the code, its verb the technical word in the present tense:
 * reports, returns, rejects, sends, stores, waits.
 */
const STORY_WORDS =
  /\b(?:told|tells?|telling|untold|anew|whoever|whom|besides|nobody|somebody|at the most|as it is|lies in|has it that|dawdles?|goes on saying)\b/gi

const PROSE = ['*.md', 'docs/**/*.md', '{src,otel,dashboards,test,bench,examples,deploy}/**/*.{ts,md,css,html,yml,yaml,mjs,cjs}']

describe('words of stories', () => {
  it('are in no file', () => {
    expect(storyWords()).toEqual([])
  })

  it.each([
    ['// The process is told twice.', 1],
    ["const text = 'at the most'", 1],
    ['/**\n * Nobody asks\n * whom.\n */', 2],
    ["const told = by('one')", 0],
    ['call(tell, nobody)', 0],
    ['`Up to $\u007btold} of them`', 0],
  ])('are looked for in comments and texts alone: %j', (text, count) => {
    expect(wordsIn('src/a.ts', text)).toBe(count)
  })
})

/** `src/watch/policy.ts: 2` for each file with such words. */
function storyWords(): string[] {
  return globSync(PROSE, { cwd: ROOT })
    .map(path => path.replaceAll(sep, '/'))
    .filter(path => !/node_modules\/|\/generated\/|^test\/house\/words\.test\.ts$/.test(path))
    .map(path => ({ path, count: wordsIn(path, readFileSync(join(ROOT, path), 'utf8')) }))
    .filter(({ count }) => count > 0)
    .map(({ path, count }) => `${path}: ${count}`)
}

function wordsIn(path: string, text: string): number {
  const prose = /\.(?:[cm]?[jt]s)$/.test(path) ? proseOf(text) : text
  return [...prose.matchAll(STORY_WORDS)].length
}

/** Comments and texts of a program; what stands in `${}` is code. */
function proseOf(text: string): string {
  const parts = text.matchAll(/\/\*[\s\S]*?\*\/|(?<!:)\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g)
  return [...parts].map(([part]) => (part.startsWith('`') ? part.replace(/\$\{[^{}]*\}/g, ' ') : part)).join('\n')
}
