import { describe, expect, it } from 'vitest'
import * as genai from '../../otel/genai-semconv.ts'
import * as telemetry from '../../otel/names.ts'
import { READ_ATTRIBUTES, READ_EVENTS } from '../../src/diagnose/read-by-rules.ts'
import { sourceFilesIn } from '../house/source-files.ts'

// Seen: diagnose and /ops/findings.json failed on every bypass: a rule read `gatewatch.policy`, which the evidence does not
// keep. Why: the rule and the list of kept attributes came in changes of their own. Fix: what a rule names is in the list.
// Issue "1 of 6", points A1 and D6.

const NAMES: Readonly<Record<string, unknown>> = { ...telemetry, ...genai }

describe('what the rules read', () => {
  const rules = sourceFilesIn('src/diagnose/rules')

  it.each([
    ['an attribute', /\b(?:ATTR|GENAI)_[A-Z_]+\b/g, READ_ATTRIBUTES],
    ['an event', /\bEVENT_[A-Z_]+\b/g, READ_EVENTS],
  ])('is kept when it is %s', (_what, name, kept) => {
    expect(rules.length).toBeGreaterThan(20)
    const missing = rules.flatMap(({ path, text }) =>
      [...new Set(text.match(name))]
        .filter(word => typeof NAMES[word] === 'string' && !kept.has(NAMES[word]))
        .map(word => `${path}: ${word}`),
    )
    expect(missing).toEqual([])
  })
})
