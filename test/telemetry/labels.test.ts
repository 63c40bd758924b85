import { describe, expect, it } from 'vitest'
import { LABEL_CALLER, LABEL_LABEL, LABEL_PROFILE, LABEL_REASON, LABELS, OTHER } from '../../otel/semconv.ts'
import { LabelLimiter } from '../../src/telemetry/labels.ts'

function world() {
  const overflows: string[] = []
  return { labels: new LabelLimiter(label => overflows.push(label)), overflows }
}

describe('labels', () => {
  it('lets a capped label mint its cap of values and shows the rest as _other', () => {
    const { labels, overflows } = world()
    const shown = new Set(Array.from({ length: 10_000 }, (_, index) => labels.value(LABEL_CALLER, `src/a.ts#caller${index}`)))
    expect(shown.size).toBe((LABELS[LABEL_CALLER]?.cap ?? 0) + 1)
    expect(shown).toContain(OTHER)
    expect(overflows).toHaveLength(10_000 - 200)
  })

  it('goes on showing a value it has minted when the cap is reached', () => {
    const { labels } = world()
    for (let index = 0; index < 300; index += 1) labels.value(LABEL_CALLER, `caller${index}`)
    expect(labels.value(LABEL_CALLER, 'caller7')).toBe('caller7')
  })

  it('spends one value of the cap on secrets that look the same when they are hidden', () => {
    const { labels, overflows } = world()
    for (let index = 0; index < 2000; index += 1)
      expect(labels.value(LABEL_PROFILE, `openai:user${index}@example.com`)).toBe('openai:[e-mail]')
    expect(overflows).toEqual([])
  })

  it('lets only the words of a closed list through', () => {
    const { labels, overflows } = world()
    expect(labels.value(LABEL_REASON, 'forced')).toBe('forced')
    expect(labels.value(LABEL_REASON, 'because')).toBe(OTHER)
    expect(overflows).toEqual([LABEL_REASON])
  })

  it('does not overflow into the overflow counter itself', () => {
    const { labels, overflows } = world()
    expect(labels.value(LABEL_LABEL, 'no such label')).toBe(OTHER)
    expect(overflows).toEqual([])
  })

  it('cuts long values', () => {
    expect(world().labels.value(LABEL_CALLER, 'é/'.repeat(5000))).toHaveLength(120)
  })

  it('refuses an undeclared label', () => {
    expect(() => world().labels.value('colour', 'red')).toThrow(TypeError)
  })
})
