import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { FINDING_KINDS } from '../../src/diagnose/finding.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import { SCENARIOS } from '../../src/simulator/scenarios/scenarios.ts'
import { importsOf, type SourceFile, sourceFile, sourceFilesIn, textsOf } from '../house/source-files.ts'

/** What reads events, and what runs the rules: neither rules nor what they are built from may import it. */
const AROUND = ['diagnose', 'event-of-span', 'evidence-source', 'otlp-events', 'rules', 'running-diagnosis'].map(
  name => `src/diagnose/${name}.ts`,
)
/** All that a rule and what it is built from may import: events and lists of the domain, and each other. */
const SEEN_BY_RULES = /^(?:src\/domain\/[\w-]+|src\/diagnose\/(?:rules\/)?[\w-]+)\.ts$/

describe('the rules', () => {
  const rules = sourceFilesIn('src').filter(({ path }) => path.startsWith('src/diagnose/rules/'))
  const parts = sourceFilesIn('src').filter(({ path }) => /^src\/diagnose\/[\w-]+\.ts$/.test(path) && !AROUND.includes(path))

  it('read recorded events and nothing else, as does anything they are built from', () => {
    expect(rules.length).toBeGreaterThan(5)
    expect(parts.map(({ path }) => path)).toContain('src/diagnose/evidence.ts')
    expect([...rules, ...parts].flatMap(unseenBy)).toEqual([])
  })

  it.each(['../../scenarios/scenarios.ts', '../../simulator/simulator.ts', '../../recorder/recorder.ts', 'node:fs', '../rules.ts'])(
    'would be noticed to look at %s',
    specifier => {
      expect(unseenBy(sourceFile('src/diagnose/rules/peeking.ts', `import '${specifier}'`))).toHaveLength(1)
    },
  )

  it('know no name of a scenario, nor of what plays it', () => {
    const known = [...SCENARIOS.map(({ name }) => name), 'simulat', 'scenario', 'gatewatch-scenario', 'quick-plugin', '127.0.0.1']
    const said = rules.flatMap(file =>
      textsOf(file).flatMap(text => known.filter(word => text.includes(word)).map(word => `${file.path}: ${word}`)),
    )
    expect(said).toEqual([])
  })

  it('are one a kind, in the order of the findings', () => {
    expect(RULES.map(({ kind }) => kind)).toEqual([...FINDING_KINDS])
  })

  it('explain only findings that there are, and never each other', () => {
    const explains = new Map(RULES.map(({ kind, explains: others = [] }) => [kind, others] as const))
    for (const [kind, others] of explains)
      for (const other of others) expect(explains.get(other) ?? [], `${kind} and ${other}`).not.toContain(kind)
  })

  it('say what to do', () => {
    expect(RULES.filter(({ remedy, symptom, detectedBy }) => remedy.length === 0 || symptom === '' || detectedBy === '')).toEqual([])
  })
})

function unseenBy(file: SourceFile): string[] {
  return importsOf(file)
    .map(({ specifier }) => (specifier.startsWith('.') ? posix.join(posix.dirname(file.path), specifier) : specifier))
    .filter(path => !SEEN_BY_RULES.test(path) || AROUND.includes(path))
    .map(path => `${file.path}: ${path}`)
}
