import { describe, expect, it } from 'vitest'
import { TOKEN_REQUEST_OUTCOMES } from '../../src/domain/enums.ts'
import { isPermanent, isSuccess, OUTCOME_DURATION } from '../../src/domain/token-request-outcome.ts'

describe('every outcome of a token request', () => {
  it('has a duration, and there is no other', () => {
    expect(Object.keys(OUTCOME_DURATION).sort()).toEqual([...TOKEN_REQUEST_OUTCOMES].sort())
  })

  it('is one of success, permanent and transient', () => {
    const of = (wanted: string) => TOKEN_REQUEST_OUTCOMES.filter(outcome => OUTCOME_DURATION[outcome] === wanted)
    expect(of('success')).toEqual(['rotated', 'renewed', 'granted', 'reused', 'pending', 'not_persisted'])
    expect(of('permanent')).toEqual([
      'invalidated',
      'grant_expired',
      'interaction_required',
      'malformed',
      'lost',
      'identity_mismatch',
      'needs_login',
    ])
    expect(of('transient')).toEqual([
      'refused',
      'forbidden',
      'redirected',
      'unreadable',
      'unavailable',
      'timeout',
      'throttled',
      'contention',
      'blocked',
      'cancelled',
      'application_error',
    ])
  })

  it.each(TOKEN_REQUEST_OUTCOMES)('%s answers both questions by its duration', outcome => {
    expect(isSuccess(outcome)).toBe(OUTCOME_DURATION[outcome] === 'success')
    expect(isPermanent(outcome)).toBe(OUTCOME_DURATION[outcome] === 'permanent')
  })
})
