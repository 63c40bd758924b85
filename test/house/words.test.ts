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

/** How many there are in each folder. Zero is the goal: a number may only go down, and is lowered in the change that lowers the count. */
const CEILINGS: Readonly<Record<string, number>> = {
  'src/calls': 4,
  'src/events': 1,
  'src/refresh': 13,
  'src/telemetry': 18,
  'src/token-requests': 5,
  'src/watch': 17,
  'test/callers': 9,
  'test/calls': 15,
  'test/cli': 14,
  'test/clients': 6,
  'test/codex': 2,
  'test/contracts': 7,
  'test/dashboards': 7,
  'test/domain': 1,
  'test/e2e': 38,
  'test/fixtures': 2,
  'test/house': 4,
  'test/http-clients': 1,
  'test/importers': 18,
  'test/login': 9,
  'test/openclaw': 4,
  'test/otel': 2,
  'test/providers': 7,
  'test/refresh': 24,
  'test/server': 13,
  'test/simulator': 6,
  'test/store': 7,
  'test/support': 4,
  'test/telemetry': 10,
  'test/token-requests': 12,
  'test/tools': 2,
  'test/watch': 21,
}

const PROSE = ['*.md', 'docs/**/*.md', '{src,otel,dashboards,test,bench,examples,deploy}/**/*.{ts,md,css,html,yml,yaml,mjs,cjs}']

describe('words of stories', () => {
  const counted = counts()

  it('are in no folder more than before; where there are fewer: lower the ceiling', () => {
    for (const [room, count] of counted) if (count !== (CEILINGS[room] ?? 0)) process.stdout.write(`COUNT ${room} ${count}\n`)
    expect(Object.fromEntries([...counted].filter(([, count]) => count > 0).sort())).toEqual(CEILINGS)
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

function counts(): Map<string, number> {
  const rooms = new Map<string, number>()
  for (const path of globSync(PROSE, { cwd: ROOT }).map(path => path.replaceAll(sep, '/'))) {
    if (/node_modules\/|\/generated\/|^test\/house\/words\.test\.ts$/.test(path)) continue
    const room = roomOf(path)
    rooms.set(room, (rooms.get(room) ?? 0) + wordsIn(path, readFileSync(join(ROOT, path), 'utf8')))
  }
  return rooms
}

/** `src/watch`, `test/watch`, `otel`, `README.md`. */
function roomOf(path: string): string {
  const [top = '', room] = path.split('/')
  return (top === 'src' || top === 'test') && room && !room.includes('.') ? `${top}/${room}` : top
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
