import { describe, expect, it } from 'vitest'
import { diagnose } from '../../../src/diagnose/diagnose.ts'
import type { BypassPolicy, TokenRequestOutcome } from '../../../src/domain/enums.ts'
import { CLI, evidence, findings, GATEWAY, kinds, refresh, verdicts } from '../events.ts'

const invalidated = { outcome: 'invalidated' } as const

describe('a rotated token that is sent again', () => {
  it('by another process is a replay, and says who used it up', () => {
    const [finding] = findings(
      refresh(0, { sent: 'a1', received: 'a2', process: GATEWAY }),
      refresh(30, { sent: 'a1', process: CLI, ...invalidated }),
    )
    expect(finding).toMatchObject({ kind: 'rotated_token_replayed', severity: 'divergence' })
    expect(finding?.what).toContain('Process 100 rotated')
    expect(verdicts(finding)).toEqual({ token_rejected: 'excluded', another_caller: 'supported', request_shape: 'excluded' })
  })

  it('by the very process that rotated it is not reported as one of two processes', () => {
    const reported = kinds(
      refresh(0, { sent: 'a1', received: 'a2', process: GATEWAY }),
      refresh(30, { sent: 'a1', process: GATEWAY, ...invalidated }),
    )
    expect(reported).toEqual(['refresh_refused'])
  })

  it('until the newest token is refused as well has ended the login', () => {
    const [finding, ...others] = findings(
      refresh(0, { sent: 'a1', received: 'a2', process: GATEWAY }),
      refresh(30, { sent: 'a1', process: CLI, ...invalidated }),
      refresh(31, { sent: 'a1', process: CLI, ...invalidated }),
      refresh(60, { sent: 'a2', process: GATEWAY, ...invalidated }),
    )
    expect(others).toEqual([])
    expect(finding).toMatchObject({
      kind: 'family_killed_by_replay',
      severity: 'grant_dead',
      callers: [{ count: 2, processes: [{ pid: 200, role: 'cli', title: 'cli.js' }] }],
    })
  })
})

describe('a newest token that is refused', () => {
  it('without any replay before is no family killed by one', () => {
    expect(kinds(refresh(0, { sent: 'a1', received: 'a2' }), refresh(60, { sent: 'a2', ...invalidated }))).toEqual(['refresh_refused'])
  })
})

describe('a bypass', () => {
  it('alone is a warning with the place it came from', () => {
    const [finding] = findings(refresh(0, { via: 'bypass', sent: 'c1' }))
    expect(finding).toMatchObject({ kind: 'gate_bypassed', severity: 'warning', callers: [{ place: 'src/agent.ts:12' }] })
  })

  it('that used up the token of the gate is a dead login', () => {
    const reported = findings(refresh(0, { via: 'bypass', sent: 'c1' }), refresh(60, { sent: 'c1', ...invalidated }))
    expect(reported).toHaveLength(1)
    expect(reported[0]).toMatchObject({ kind: 'gate_bypassed', severity: 'grant_dead', explains: [{ kind: 'refresh_refused' }] })
  })

  it('that was stopped is reported as stopped, and as nothing else', () => {
    const reported = findings(refresh(0, { via: 'bypass', outcome: 'blocked' }))
    expect(reported).toHaveLength(1)
    expect(reported[0]).toMatchObject({ kind: 'gate_bypassed', severity: 'warning', title: 'A token request past the gate was stopped' })
  })

  // Seen: "Refreshes fail in a way that may pass" counted what policy had held back. Issue 1, point A1.
  it('that was stopped is none of the refreshes that fail for now', () => {
    const blocked = [0, 1, 2].map(at => refresh(at, { via: 'bypass', outcome: 'blocked' }))
    const failing = findings(...blocked, refresh(9, { sent: 'c1', outcome: 'forbidden' })).filter(({ kind }) => kind === 'refresh_failing')
    expect(failing).toMatchObject([{ seen: { count: 1 }, outcomes: [{ word: 'forbidden', count: 1 }] }])
  })

  // Seen: "set the policy to enforce" below a request that enforce had refused. Issue 1, point A1.
  it('is never answered with the policy that is on', () => {
    const by = (policy: BypassPolicy, outcome: TokenRequestOutcome) => findings(refresh(0, { via: 'bypass', outcome, policy }))
    const remedies = [by('enforce', 'blocked'), by('coalesce', 'rotated'), by('observe', 'rotated')].map(([finding]) =>
      String(finding?.remedy),
    )
    expect(remedies.map(remedy => remedy.includes('set the policy to enforce'))).toEqual([false, false, true])
    expect(remedies.map(remedy => remedy.includes('sign in again'))).toEqual([false, true, true])
  })

  it('in a process that had not seen the gate asks for the name of the gate', () => {
    const [finding] = findings(refresh(0, { via: 'bypass', gateSeen: false }))
    expect(String(finding?.remedy)).toContain('had not seen the declared gate')
  })
})

// Seen: of three requests at once the refused one was answered first, before the account was known, and was a finding of its own.
describe('a login that is named by its first token until an answer names its account', () => {
  const token = 'aabbccddeeff'
  const [byToken, byAccount] = ['openai-codex:aabbccdd', 'openai-codex:11223344']
  const past = { via: 'bypass', sent: token } as const

  it('is one login, in whatever order three requests at once are answered', () => {
    const rotated = refresh(0, { ...past, received: 'ffee', profile: byAccount })
    for (const [first, last] of [
      [byToken, byToken],
      [byToken, byAccount],
      [byAccount, byAccount],
    ]) {
      const refused = [
        refresh(0.01, { ...past, profile: first, ...invalidated }),
        refresh(0.02, { ...past, profile: last, ...invalidated }),
      ]
      const reported = findings(rotated, ...refused)
      expect(reported.map(({ kind, profiles, callers }) => ({ kind, profiles, counts: callers.map(({ count }) => count) }))).toEqual([
        { kind: 'gate_bypassed', profiles: [byAccount], counts: [3] },
      ])
    }
  })

  it('is one login to another process, which has seen a later token of it first', () => {
    const later = refresh(60, { ...past, sent: '99887766aa', profile: 'openai-codex:99887766', process: CLI, ...invalidated })
    const reported = findings(refresh(0, { ...past, received: '99887766aa', profile: byToken, process: GATEWAY }), later)
    expect(reported.filter(({ kind }) => kind === 'gate_bypassed')).toMatchObject([{ profiles: [byToken], callers: [{ count: 2 }] }])
  })

  it('is found by either name', () => {
    const seen = evidence(
      refresh(0, { ...past, profile: byToken, ...invalidated }),
      refresh(1, { ...past, received: 'ffee', profile: byAccount }),
    )
    const kindsOf = (name: string) => diagnose(seen, { profile: [name] }).findings.map(({ kind }) => kind)
    expect([byToken, byAccount, 'openai-codex:other'].map(kindsOf)).toEqual([['gate_bypassed'], ['gate_bypassed'], []])
  })
})
