import { describe, expect, inject, it } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { evidenceIn } from '../../src/diagnose/evidence-source.ts'
import { openClawWorld } from './world.ts'

const openClaw = inject('openClaw')

describe.skipIf(openClaw === '')('the incident, diagnosed from what was recorded of the real OpenClaw', () => {
  it('is decided: no token was rejected, no caller went past the gate, a field of the request was wrong', async () => {
    // What was seen: openclaw/openclaw#82069, a healthy profile whose every turn ends in 401 token_expired; three hypotheses
    // were left and nothing in the logs could decide between them.
    const w = await openClawWorld(openClaw)
    w.keep(w.login())
    await w.turn('config-of-the-shell')
    await w.turn('config-of-the-service')

    const { findings } = diagnose(evidenceIn(w.state))
    expect(findings.map(({ kind, severity }) => ({ kind, severity }))).toEqual([{ kind: 'undefined_token_sent', severity: 'grant_dead' }])
    const [finding] = findings
    expect(finding?.shape?.differences.join()).toContain('field refresh_token is literal:undefined')
    expect(finding?.callers[0]?.caller).toMatch(/^openclaw\/dist\//)
    expect(finding?.vias).toEqual([{ word: 'gate', count: 1 }])
    const verdicts = Object.fromEntries((finding?.hypotheses ?? []).map(({ hypothesis, verdict }) => [hypothesis, verdict]))
    expect(verdicts).toEqual({ token_rejected: 'excluded', another_caller: 'excluded', request_shape: 'supported' })
  })

  it('has a plugin named that refreshes past its gate, with file and line', async () => {
    const w = await openClawWorld(openClaw)
    await w.plugin(w.credential(w.login()))

    const { findings } = diagnose(evidenceIn(w.state))
    const place = expect.stringMatching(/^test\/openclaw\/plugin\.mjs:\d+$/)
    expect(
      findings.map(({ kind, callers }) => ({ kind, callers: callers.map(({ count, via, place }) => ({ count, via, place })) })),
    ).toEqual([{ kind: 'gate_bypassed', callers: [{ count: 3, via: ['bypass'], place }] }])
  })
})
