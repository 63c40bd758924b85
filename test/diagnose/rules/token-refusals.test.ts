import { describe, expect, it } from 'vitest'
import { diagnose } from '../../../src/diagnose/diagnose.ts'
import { evidenceIn } from '../../../src/diagnose/evidence-source.ts'
import type { GatewatchEvent } from '../../../src/domain/events.ts'
import { playScenario } from '../../../src/simulator/scenarios/harness.ts'
import { stateFolder } from '../../support/clean-up.ts'
import { failed, findings, kinds, type RefreshFields, refresh, verdicts } from '../events.ts'

const invalidated = { outcome: 'invalidated' } as const

describe('a refusal that nothing narrower explains', () => {
  it('is reported as one of a token used up by a caller that is not recorded, where the provider says that it was used', () => {
    const [finding] = findings(refresh(0, { sent: 'z1', providerErrorCode: 'refresh_token_reused', ...invalidated }))
    expect(finding).toMatchObject({ kind: 'refresh_refused', title: expect.stringContaining('not recorded'), confidence: 'likely' })
    expect(verdicts(finding)).toEqual({ another_caller: 'supported' })
  })

  it('is reported as possible otherwise, and suspects the endpoint where the request is as before', () => {
    const fields = shape('grant_type=refresh_token refresh_token=opaque:71')
    const [finding] = findings(refresh(0, fields), refresh(60, { sent: 'z1', ...fields, ...invalidated }))
    expect(finding).toMatchObject({ kind: 'refresh_refused', confidence: 'possible' })
    expect(verdicts(finding)).toEqual({ token_rejected: 'supported', request_shape: 'excluded' })
  })
})

describe('a refresh token that the endpoint refuses', () => {
  it('when the refresh was due says to sign in, first of all', () => {
    const [finding, ...others] = findings(refresh(0, { sent: 'b1', reason: 'expired', tokenAgeS: 4, ...invalidated }))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'refresh_refused', title: 'The token endpoint refuses the refresh token: the login has ended' })
    expect(finding?.remedy[0]).toMatch(/^Sign in again/)
  })
})

describe('a fresh login', () => {
  const young = { tokenAgeS: 4 }

  it('whose first refresh is refused is reported as one, the endpoint being suspected', () => {
    const [finding] = findings(refresh(0, { sent: 'b1', reason: 'forced', ...young, ...invalidated }))
    expect(finding).toMatchObject({ kind: 'fresh_login_rejected', confidence: 'likely' })
    expect(verdicts(finding)).toEqual({ token_rejected: 'supported' })
  })

  it.each<[string, GatewatchEvent[]]>([
    ['that is an hour old', [refresh(0, { sent: 'b1', tokenAgeS: 3_600, ...invalidated })]],
    ['of unknown age', [refresh(0, { sent: 'b1', ...invalidated })]],
    [
      'whose token came from a rotation',
      [refresh(0, { sent: 'b0', received: 'b1' }), refresh(5, { sent: 'b1', ...young, ...invalidated })],
    ],
    // Seen: "do not refresh right after a login" for a login whose access token had ended (cases/27).
    ['whose access token has ended', [refresh(0, { sent: 'b1', reason: 'expired', ...young, ...invalidated })]],
    ['that is throttled', [refresh(0, { sent: 'b1', ...young, outcome: 'throttled' })]],
  ])('%s is none', (_what, events) => {
    expect(kinds(...events)).not.toContain('fresh_login_rejected')
  })
})

describe('a login that has expired', () => {
  it('is reported with its age', () => {
    const [finding] = findings(refresh(0, { outcome: 'grant_expired', tokenAgeS: 40 * 86_400 }))
    expect(finding).toMatchObject({ kind: 'grant_expired', what: expect.stringContaining('40 days') })
  })
})

describe('an answer of another account', () => {
  it('that a watched application took is reported as a divergence, that the gate refused as a dead login', () => {
    const accounts = { accountBefore: 'aaaaaaaaaaaa', accountAfter: 'bbbbbbbbbbbb' }
    const taken = refresh(0, { sent: 't1', received: 't2', via: 'undeclared', ...accounts })
    expect(findings(taken)).toMatchObject([
      { kind: 'identity_mismatch', severity: 'divergence', what: expect.stringContaining('aaaaaaaaaaaa to bbbbbbbbbbbb') },
    ])
    const refused = failed(0, 'identity_mismatch', accounts)
    expect(findings(refused)).toMatchObject([{ kind: 'identity_mismatch', severity: 'grant_dead' }])
  })

  it('is seen in a program that is only watched', async () => {
    const state = stateFolder()
    const other = { do: 'fault', fault: { where: 'token', switchAccountTo: 'acc-other' } } as const
    await playScenario({ steps: [other, { do: 'client', name: 'agent', acts: [{ act: 'call' }, { act: 'refresh' }] }] }, state)
    expect(diagnose(evidenceIn(state)).findings).toMatchObject([
      { kind: 'identity_mismatch', what: expect.stringMatching(/from account [0-9a-f]{12} to [0-9a-f]{12}/) },
    ])
  })
})

function shape(requestFields: string): RefreshFields {
  return { requestFields, requestEncoding: 'form' }
}
