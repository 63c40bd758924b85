import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as names from '../../otel/semconv.ts'
import { ATTRIBUTES, METRICS } from '../../otel/semconv.ts'
import { referencePages } from '../../otel/write-reference.ts'
import { ROOT } from './source-files.ts'

const FOLDER = join(ROOT, 'docs/reference')

describe('docs/reference', () => {
  const pages = referencePages()

  it('holds these pages and no other', () => {
    expect(readdirSync(FOLDER).sort()).toEqual(Object.keys(pages).sort())
  })

  it.each(Object.keys(pages))('has %s as the names are now; `npm run reference` writes it', name => {
    expect(readFileSync(join(FOLDER, name), 'utf8')).toBe(pages[name])
  })

  it('names every span, event, attribute and metric', () => {
    const rows = Object.values(pages).join('\n')
    const constants = Object.entries(names).flatMap(([key, name]) => (/^(?:SPAN|EVENT)_/.test(key) ? [name] : []))
    expect(constants.length).toBeGreaterThan(20)
    for (const name of [...constants, ...Object.keys(ATTRIBUTES), ...Object.values(METRICS).map(metric => metric.name)])
      expect(rows).toContain(`| \`${name}\` |`)
  })
})
