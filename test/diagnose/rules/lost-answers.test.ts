import { describe, expect, it } from 'vitest'
import type { TokenRequestOutcome } from '../../../src/domain/enums.ts'
import type { GatewatchEvent, TokenRequestEvent } from '../../../src/domain/events.ts'
import { CLI, failed, findings, GATEWAY, kinds, type RefreshFields, refresh, spent, step, verdicts } from '../events.ts'

describe('a refresh whose answer was not received', () => {
  const timeout = unheard('timeout', 'TimeoutError')
  const reset = unheard('unavailable', 'ECONNRESET')

  it.each<[string, string, GatewatchEvent]>([
    ['that was given up', 'timed_out_after_rotation', timeout],
    ['whose connection broke', 'answer_lost', reset],
    ['that a proxy answered with 502', 'answer_lost', unheard('unavailable', 'unavailable', { httpStatus: 502 })],
    ['whose answer could not be read', 'answer_lost', unheard('unreadable', 'answer_not_json', { httpStatus: 200 })],
    ['that its process left behind', 'crash_before_persist', unheard('lost', 'lost', { process: CLI })],
  ])('%s is shown by the next one that is refused', (_what, kind, first) => {
    const [finding, ...others] = findings(first, spent(2))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind, severity: 'grant_dead', confidence: 'certain', seen: { count: 2 } })
    expect(verdicts(finding)).toEqual({ token_rejected: 'excluded', another_caller: 'excluded' })
  })

  it('is only likely to be the reason where the provider does not say that the token was used', () => {
    const [finding] = findings(timeout, spent(2, { providerErrorCode: 'refresh_token_invalidated' }))
    expect(finding).toMatchObject({ kind: 'timed_out_after_rotation', confidence: 'likely', surerBy: expect.any(String) })
  })

  it.each<[string, GatewatchEvent[], string[]]>([
    ['and the next one works: nothing was lost', [timeout, refresh(2, { sent: 't1', received: 't2' })], ['refresh_failing']],
    ['since it was never sent', [unheard('unavailable', 'ECONNREFUSED'), spent(2)], ['refresh_refused', 'token_endpoint_unavailable']],
    [
      'and another caller was seen to rotate the token',
      [timeout, refresh(1, { sent: 't1', received: 't2', process: CLI }), spent(2)],
      ['rotated_token_replayed', 'refresh_failing'],
    ],
    ['of another token', [unheard('timeout', 'TimeoutError', { sent: 't0' }), spent(2)], ['refresh_refused', 'refresh_failing']],
  ])('is not the reason %s', (_what, events, expected) => {
    expect(kinds(...events)).toEqual(expected)
  })
})

describe('a token that the store says was sent before', () => {
  const steps = [step('lease_requested'), step('credential_reloaded', { pendingProcess: '300', pendingAgeS: 12 })]

  it('by a process that recorded no end of it died with that process', () => {
    const [finding, ...others] = findings(spent(2, { outcome: 'lost', steps }))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'crash_before_persist', what: expect.stringContaining('Process 300 sent') })
    expect(finding?.what).toContain('12 s before')
  })

  it('by a process that recorded a time-out did not', () => {
    expect(kinds(unheard('timeout', 'TimeoutError'), spent(2, { outcome: 'lost', steps }))).toEqual(['timed_out_after_rotation'])
  })

  it('and works all the same is no finding: the provider had not taken it', () => {
    expect(kinds(refresh(2, { sent: 't1', received: 't2', steps }))).toEqual([])
  })
})

/** A refresh of the token `t1` that brought no readable answer. */
function unheard(outcome: TokenRequestOutcome, errorType: string, fields: RefreshFields = {}): TokenRequestEvent {
  return failed(0, outcome, { sent: 't1', process: GATEWAY, errorType, ...fields })
}
