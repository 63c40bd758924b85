import { describe, expect, it } from 'vitest'
import * as names from '../../otel/semconv.ts'
import { READ_ATTRIBUTES, READ_EVENTS } from '../../src/diagnose/read-by-rules.ts'
import { sourceFilesIn } from './source-files.ts'

/** The list itself, and the reader of OTLP files, which reads what a file says of its process. */
const NO_RULES = new Set(['src/diagnose/read-by-rules.ts', 'src/diagnose/otlp-spans.ts', 'src/diagnose/evidence-source.ts'])

describe('what evidence keeps', () => {
  const rules = sourceFilesIn('src/diagnose').filter(({ path }) => !NO_RULES.has(path))
  const used = (prefix: 'ATTR_' | 'EVENT_') =>
    [...new Set(rules.flatMap(({ text }) => [...text.matchAll(new RegExp(`\\b${prefix}[A-Z_0-9]+\\b`, 'g'))].map(([name]) => name)))]
      .map(name => (names as Readonly<Record<string, unknown>>)[name] as string)
      .sort()

  it('is every attribute that a rule reads, and no other', () => {
    expect(used('ATTR_').length).toBeGreaterThan(30)
    expect([...READ_ATTRIBUTES].sort()).toEqual(used('ATTR_'))
  })

  it('is every event that a rule reads, and no other', () => {
    expect([...READ_EVENTS].sort()).toEqual(used('EVENT_'))
  })
})
