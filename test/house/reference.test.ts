import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ATTRIBUTES, METRICS, SPAN_ACQUIRE } from '../../otel/semconv.ts'
import { reference, withReference } from '../../otel/write-reference.ts'
import { ROOT } from './source-files.ts'

describe('the reference in the README', () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')

  it('says what the names say; `npm run reference` writes it', () => {
    expect(readme).toBe(withReference(readme))
  })

  it('names every attribute and every metric', () => {
    const tables = reference()
    for (const name of [...Object.keys(ATTRIBUTES), ...Object.values(METRICS).map(({ name }) => name)])
      expect(tables).toContain(`| \`${name}\` |`)
  })

  it('would be noticed to be old, and to have no place', () => {
    const old = readme.replaceAll(SPAN_ACQUIRE, 'gatewatch.old.name')
    expect(old).not.toBe(withReference(old))
    expect(() => withReference('# Gatewatch')).toThrow(RangeError)
  })
})
