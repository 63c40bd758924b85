import * as stable from '@opentelemetry/semantic-conventions'
import * as incubating from '@opentelemetry/semantic-conventions/incubating'
import { describe, expect, it } from 'vitest'
import { ATTRIBUTES, LABELS, METRICS, SCOPE } from '../../otel/semconv.ts'

const known = (prefix: string) =>
  new Set<unknown>(
    [...Object.entries(stable), ...Object.entries(incubating)]
      .filter(([name, value]) => name.startsWith(prefix) && typeof value === 'string')
      .map(([, value]) => value),
  )
const isForeign = (name: string) => !name.startsWith(`${SCOPE}.`)

describe('names that are not ours', () => {
  it('are attributes of the semantic conventions', () => {
    const foreign = Object.keys(ATTRIBUTES).filter(isForeign)
    expect(foreign.length).toBeGreaterThan(10)
    expect(foreign.filter(key => !known('ATTR_').has(key))).toEqual([])
  })

  it('are attributes of the semantic conventions in labels too, unless they are short words', () => {
    const dotted = Object.keys(LABELS).filter(label => label.includes('.'))
    expect(dotted.filter(label => !known('ATTR_').has(label))).toEqual([])
  })

  it('are metrics of the semantic conventions', () => {
    const foreign = Object.values(METRICS)
      .map(({ name }) => name)
      .filter(isForeign)
    expect(foreign.length).toBeGreaterThan(0)
    expect(foreign.filter(name => !known('METRIC_').has(name))).toEqual([])
  })
})
