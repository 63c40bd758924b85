import { describe, expect, it } from 'vitest'
import { diagnose } from '../../../src/diagnose/diagnose.ts'
import { evidenceIn } from '../../../src/diagnose/evidence-source.ts'
import { FINDING_KINDS } from '../../../src/diagnose/finding.ts'
import { playScenario } from '../../../src/simulator/scenarios/harness.ts'
import { runScenario } from '../../../src/simulator/scenarios/scenario-runner.ts'
import { SCENARIOS } from '../../../src/simulator/scenarios/scenarios.ts'
import { stateFolder } from '../../support/clean-up.ts'
import { valuesMaskedIn } from '../../support/collector-redaction.ts'
import { quietHour } from './quiet-hour-process.ts'

/** One of each way of playing: in the gateway alone, past its gate, in processes of their own. All of them: npm run test:scenarios. */
const PLAYED_HERE = ['normal-rotation', 'gate-bypass', 'undefined-refresh-token', 'replay-by-second-process']

describe('the scenarios', () => {
  it('are the 33 of the catalogue, in its order, each with a name of its own', () => {
    expect(SCENARIOS.map(({ number }) => number)).toEqual(Array.from({ length: 33 }, (_, index) => index + 1))
    const names = SCENARIOS.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(names.filter(name => !/^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(name))).toEqual([])
  })

  it('are plain data', () => {
    for (const scenario of SCENARIOS) expect(JSON.parse(JSON.stringify(scenario))).toEqual(scenario)
  })

  it('say in one line what, why, who saw it and what an operator sees', () => {
    const texts = SCENARIOS.flatMap(({ title, why, source, symptom }) => [title, why, source, symptom])
    expect(texts.filter(text => text.trim() === '' || text.includes('\n'))).toEqual([])
  })

  it('each expect a finding that no other scenario expects: one must be distinguished from the other', () => {
    const expected = SCENARIOS.map(({ finding }) => finding).filter(finding => finding !== 'none')
    expect(new Set(expected).size).toBe(expected.length)
    expect(expected.filter(kind => !FINDING_KINDS.includes(kind))).toEqual([])
  })

  it.each(PLAYED_HERE)('%s, played and diagnosed', async name => {
    const scenario = SCENARIOS.find(one => one.name === name)
    if (!scenario) throw new RangeError(`there is no scenario ${name}`)
    const state = stateFolder()
    const { first, diagnosis } = await runScenario(scenario, state)
    expect({ first, findings: diagnosis.findings.map(({ what }) => what) }).toMatchObject({ first: scenario.finding })
    // The shipped collector changes nothing that an operator looks for (issue 1, point F1).
    expect(valuesMaskedIn(state)).toEqual([])
  })
})

describe('a quiet hour', () => {
  it('of healthy traffic with refreshes gives no finding', async () => {
    const { findings, checked } = await quietHour(stateFolder())
    expect(findings).toEqual([])
    expect(checked.counts.refreshes).toBeGreaterThan(5)
    expect((checked.lastMs ?? 0) - (checked.firstMs ?? 0)).toBeGreaterThan(58 * 60_000)
  })

  it('of watched programs with a login each, that refresh when they see fit, gives no finding', async () => {
    const state = stateFolder()
    await playScenario(
      {
        setting: {
          logins: [
            { profile: 'openai-codex:work', account: 'acc-work', accessLifeMs: 600_000, firstAccessLifeMs: 60_000 },
            { profile: 'openai-codex:team', account: 'acc-team', accessLifeMs: 600_000, firstAccessLifeMs: -60_000 },
          ],
        },
        steps: ['work', 'team'].map(name => ({
          do: 'client',
          name,
          profile: `openai-codex:${name}`,
          gate: ['refreshUnderLock'],
          acts: [{ act: 'refresh' }, { act: 'call', times: 3 }, { act: 'models' }, { act: 'usage' }],
        })),
      },
      state,
    )
    const { findings, checked } = diagnose(evidenceIn(state))
    expect(findings).toEqual([])
    expect(checked).toMatchObject({ processes: 2, counts: { refreshes: 2, attempts: 10 } })
  })
})
