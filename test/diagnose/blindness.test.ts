import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ATTR_PROFILE } from '../../otel/names.ts'
import { FINDING_KINDS } from '../../src/diagnose/finding.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import { SeenSpan } from '../../src/diagnose/seen-span.ts'
import { SCENARIOS } from '../../src/scenarios/scenarios.ts'
import { importsOf, type SourceFile, sourceFile, sourceFilesIn, textsOf } from '../house/source-files.ts'
import { refresh, WORK } from './spans.ts'

/** All that a rule may know: words, names, pure rules of the domain, and what the evidence shows. */
const SEEN_BY_RULES =
  /^(?:src\/domain\/[\w-]+|otel\/(?:words|names)|src\/diagnose\/(?:evidence|seen-span|finding|rule|hypotheses|request-shapes|tallies|rules\/[\w-]+))\.ts$/
/** What carries spans into the evidence, and what the rules are built from: of the recorder nothing but types. */
const SEEN_BY_EVIDENCE = /^(?:@opentelemetry\/api|src\/domain\/[\w-]+\.ts|otel\/(?:words|names)\.ts|src\/diagnose\/[\w-]+\.ts)$/

describe('the rules', () => {
  const rules = sourceFilesIn('src').filter(({ path }) => path.startsWith('src/diagnose/rules/'))
  const evidence = sourceFilesIn('src').filter(({ path }) =>
    /^src\/diagnose\/(?:evidence|seen-span|finding|rule|hypotheses|request-shapes|tallies)\.ts$/.test(path),
  )

  it('see recorded spans and nothing else', () => {
    expect(rules.length).toBeGreaterThan(5)
    expect(rules.flatMap(file => importedFrom(file).filter(path => !SEEN_BY_RULES.test(path)))).toEqual([])
    expect(evidence).toHaveLength(7)
    expect(evidence.flatMap(file => importedFrom(file).filter(path => !SEEN_BY_EVIDENCE.test(path)))).toEqual([])
  })

  it.each(['../../scenarios/scenarios.ts', '../../simulator/simulator.ts', '../../recorder/recorder.ts', 'node:fs', '../rules.ts'])(
    'would be noticed to look at %s',
    specifier => {
      const [path = ''] = importedFrom(sourceFile('src/diagnose/rules/peeking.ts', `import '${specifier}'`))
      expect(path).not.toMatch(SEEN_BY_RULES)
    },
  )

  it('know no name of a scenario, nor of what plays it', () => {
    const known = [...SCENARIOS.map(({ name }) => name), 'simulat', 'scenario', 'gatewatch-scenario', 'quick-plugin', '127.0.0.1']
    const said = rules.flatMap(file =>
      textsOf(file).flatMap(text => known.filter(word => text.includes(word)).map(word => `${file.path}: ${word}`)),
    )
    expect(said).toEqual([])
  })

  it('cannot read what telemetry has no name for', () => {
    const span = new SeenSpan(refresh(0, { more: { 'scenario.name': 'gate-bypass' } }))
    expect(span.text(ATTR_PROFILE)).toBe(WORK)
    for (const read of [() => span.text('scenario.name'), () => span.number('toString'), () => span.flag('')])
      expect(read).toThrow(RangeError)
  })

  it('are one a kind, each in a file of its name', () => {
    const kinds = RULES.map(({ kind }) => kind)
    expect(new Set(kinds).size).toBe(kinds.length)
    expect(rules.map(({ path }) => posix.basename(path, '.ts').replaceAll('-', '_')).sort()).toEqual([...kinds].sort())
    expect(kinds.filter(kind => !FINDING_KINDS.includes(kind))).toEqual([])
  })

  it('explain only findings that there are, and never each other', () => {
    const explains = new Map(RULES.map(({ kind, explains: others = [] }) => [kind, others] as const))
    for (const [kind, others] of explains)
      for (const other of others) expect(explains.get(other) ?? [], `${kind} and ${other}`).not.toContain(kind)
  })

  it('say what to do', () => {
    expect(RULES.filter(({ remedy, symptom, toldBy }) => remedy.length === 0 || symptom === '' || toldBy === '')).toEqual([])
  })
})

function importedFrom(file: SourceFile): string[] {
  return importsOf(file).map(({ specifier }) => (specifier.startsWith('.') ? posix.join(posix.dirname(file.path), specifier) : specifier))
}
