import { describe, expect, it } from 'vitest'
import * as genai from '../../otel/genai-semconv.ts'
import * as names from '../../otel/semconv.ts'
import { nodesOf, type SourceFile, sourceFile, sourceFilesIn, textsOf } from './source-files.ts'

/** Where names are made or listed, which is not to use them. */
const LISTS = ['otel/semconv.ts', 'otel/genai-semconv.ts', 'src/domain/enums.ts', 'otel/write-reference.ts']

/** How a name begins that no other caller's words do; Node's own channels (`http.client.request.start`) are not meant. */
const TELEMETRY_NAME =
  /(?<![\w/-])(?:gatewatch\.(?![\w.]*(?:json|ya?ml)\b)\w|gatewatch_\w+_|gen_ai\.\w|code\.(?:function|file|line|column)\.|http\.(?:request|response|route|server)\b)/

/** Every name there is that cannot be mistaken for a word. */
const KNOWN_NAMES = new Set(
  [
    ...Object.values(names),
    ...Object.values(genai),
    ...Object.keys(names.ATTRIBUTES),
    ...Object.values(names.METRICS).map(({ name }) => name),
  ]
    .filter(name => typeof name === 'string')
    .filter(name => /[a-z]\.[a-z]/.test(name)),
)

describe('telemetry names', () => {
  const readers = sourceFilesIn('src', 'otel', 'dashboards').filter(({ path }) => !LISTS.includes(path))

  it('are written in otel/ and nowhere else', () => {
    const outside = readers.filter(({ path }) => !path.startsWith('otel/'))
    expect(outside.length).toBeGreaterThan(100)
    expect(outside.flatMap(namesWrittenIn)).toEqual([])
  })

  it('are all used: what nothing uses is deleted', () => {
    expect(unusedIn(readers)).toEqual([])
  })

  it('are all used by metrics, where they are labels', () => {
    const labels = new Set<string>(Object.values(names.METRICS).flatMap(({ labels }) => [...labels]))
    expect(Object.keys(names.LABELS).filter(label => !labels.has(label))).toEqual([])
    const declared = Object.entries(names).filter(([key]) => key.startsWith('LABEL_'))
    expect(declared.filter(([, label]) => !labels.has(label as string))).toEqual([])
  })

  it.each([
    "'gatewatch.reason'",
    "'gen_ai.request.model'",
    "'code.function.name'",
    "'http.route'",
    "'error.type'",
    `\`gatewatch.gate.\${word}\``,
    "'gatewatch_gate_acquisitions_total'",
  ])('would be noticed in src/: %s', literal => {
    expect(namesWrittenIn(sourceFile('src/refresh/acquire.ts', `const name = ${literal}`))).toHaveLength(1)
    expect(namesWrittenIn(sourceFile('src/refresh/acquire.ts', `// ${literal}`))).toEqual([])
  })

  it('would be noticed when unused', () => {
    const unused = unusedIn([sourceFile('src/refresh/acquire.ts', "use(ATTR_REASON, METRICS.acquisitions, instruments.add('bypasses'))")])
    expect(unused).toContain('ATTR_DECISION')
    expect(unused).toContain('METRICS.replays')
    for (const used of ['ATTR_REASON', 'METRICS.acquisitions', 'METRICS.bypasses']) expect(unused).not.toContain(used)
  })
})

function namesWrittenIn(file: SourceFile): string[] {
  return textsOf(file)
    .filter(text => KNOWN_NAMES.has(text) || TELEMETRY_NAME.test(text))
    .map(text => `${file.path}: ${text}`)
}

function unusedIn(files: readonly SourceFile[]): string[] {
  const said = new Set<unknown>()
  for (const file of files) {
    for (const node of nodesOf(file.statements)) {
      if (node.type === 'Identifier') said.add(node.name)
      else if (node.type === 'Literal') said.add(node.value)
    }
  }
  const constants = Object.entries({ ...names, ...genai })
    .filter(([key, name]) => /^(?:EVENT|SPAN)_/.test(key) || (typeof name === 'string' && name in names.ATTRIBUTES))
    .map(([key]) => key)
  return [
    ...constants.filter(key => !said.has(key)),
    ...Object.keys(names.METRICS)
      .filter(key => !said.has(key))
      .map(key => `METRICS.${key}`),
  ]
}
