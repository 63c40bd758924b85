import { describe, expect, it } from 'vitest'
import { diagnosisText } from '../../src/cli/finding-text.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import type { Evidence } from '../../src/diagnose/evidence.ts'
import type { Confidence, FindingKind, FindingSeverity } from '../../src/diagnose/finding.ts'
import type { Rule } from '../../src/diagnose/rule.ts'
import { evidence, refresh, WORK } from './events.ts'

describe('a diagnosis', () => {
  it('reports findings by harm, then by how certain they are, then the latest first', () => {
    const seen = evidence(refresh(0), refresh(10), refresh(20))
    const rules = [
      rule('clock_skew', 'warning', { about: [0] }),
      rule('poller_refreshes', 'storm', { about: [0], confidence: 'possible' }),
      rule('forced_refresh_storm', 'storm', { about: [0] }),
      rule('grant_expired', 'grant_dead', { about: [0] }),
      rule('bad_expires_in', 'warning', { about: [2] }),
    ]
    expect(kinds(seen, rules)).toEqual(['grant_expired', 'forced_refresh_storm', 'poller_refreshes', 'bad_expires_in', 'clock_skew'])
  })

  it('leaves a general finding out when narrower ones are about all of its events, and says so', () => {
    const seen = evidence(refresh(0), refresh(10), refresh(20))
    const general = rule('refresh_refused', 'grant_dead', { about: [0, 1] })
    const first = rule('grant_expired', 'grant_dead', { about: [0], explains: ['refresh_refused'] })
    const second = rule('gate_bypassed', 'warning', { about: [1, 2], explains: ['refresh_refused'] })
    expect(kinds(seen, [general, first])).toEqual(['refresh_refused', 'grant_expired'])
    expect(kinds(seen, [general, first, second])).toEqual(['grant_expired', 'gate_bypassed'])
    const [finding] = diagnose(seen, { rules: [general, first, second] }).findings
    expect(finding?.explains).toEqual([{ kind: 'refresh_refused', title: 'refresh_refused', count: 2 }])
  })

  // Seen: one rule that read an attribute which the evidence did not keep ended every diagnosis, and the page's with it.
  it('gives the findings of the other rules when one fails, and names that one', () => {
    const seen = evidence(refresh(0))
    const broken: Rule = {
      ...rule('gate_bypassed', 'warning', { about: [0] }),
      detect: () => {
        throw new RangeError('no such attribute')
      },
    }
    const diagnosis = diagnose(seen, { rules: [broken, rule('grant_expired', 'grant_dead', { about: [0] })] })
    expect(diagnosis.findings.map(({ kind }) => kind)).toEqual(['grant_expired'])
    expect(diagnosis.checked.failedRules).toEqual(['gate_bypassed'])
    expect(diagnosisText(diagnosis, Date.now()).replace(/\s+/g, ' ')).toContain(
      'Not looked for, by a fault of Gatewatch itself (please report it): gate_bypassed.',
    )
    expect(diagnose(seen, { rules: [] }).checked).not.toHaveProperty('failedRules')
  })

  it('does not let a finding explain one about other events', () => {
    const seen = evidence(refresh(0), refresh(10))
    const general = rule('refresh_refused', 'grant_dead', { about: [0] })
    const narrow = rule('grant_expired', 'grant_dead', { about: [1], explains: ['refresh_refused'] })
    expect(kinds(seen, [general, narrow])).toHaveLength(2)
  })

  it('can be asked about one profile', () => {
    const seen = evidence(refresh(0, { profile: 'openai-codex:other' }), refresh(10))
    const rules = [rule('grant_expired', 'grant_dead', { about: [0] }), rule('clock_skew', 'warning', { about: [1] })]
    expect(diagnose(seen, { rules, profile: [WORK] }).findings.map(({ kind }) => kind)).toEqual(['clock_skew'])
    expect(diagnose(seen, { rules, profile: ['other'] }).findings).toEqual([])
  })

  it('says what was read when there is nothing to report', () => {
    const { findings, checked } = diagnose(evidence(refresh(0), refresh(60)))
    expect(findings).toEqual([])
    expect(checked).toMatchObject({ events: 2, profiles: [WORK], processes: 1, counts: { refreshes: 2, calls: 0 } })
    expect(checked.lastMs).toBe((checked.firstMs ?? 0) + 60_100)
  })

  it('is plain JSON', () => {
    const diagnosis = diagnose(evidence(refresh(0, { outcome: 'grant_expired' })))
    expect(diagnosis.findings).toHaveLength(1)
    expect(JSON.parse(JSON.stringify(diagnosis))).toEqual(diagnosis)
  })

  it('of nothing at all is nothing', () => {
    expect(diagnose(evidence())).toMatchObject({ findings: [], checked: { events: 0, firstMs: undefined } })
  })
})

interface RuleSketch {
  /** Which of the refreshes, by their place. */
  readonly about: readonly number[]
  readonly confidence?: Confidence
  readonly explains?: readonly FindingKind[]
}

function rule(kind: FindingKind, severity: FindingSeverity, { about, confidence = 'certain', explains = [] }: RuleSketch): Rule {
  return {
    kind,
    severity,
    title: kind,
    symptom: '',
    detectedBy: '',
    remedy: [],
    explains,
    detect: seen => [{ about: about.flatMap(place => seen.refreshes[place] ?? []), what: kind, confidence }],
  }
}

function kinds(seen: Evidence, rules: readonly Rule[]): FindingKind[] {
  return diagnose(seen, { rules }).findings.map(({ kind }) => kind)
}
