import { describe, expect, it } from 'vitest'
import { REFRESH_OUTCOMES } from '../../src/domain/enums.ts'
import { isPermanent, isSuccess, OUTCOME_DURATION } from '../../src/domain/refresh-outcome.ts'

describe('every refresh outcome', () => {
  it('has a duration, and there is no other', () => {
    expect(Object.keys(OUTCOME_DURATION).sort()).toEqual([...REFRESH_OUTCOMES].sort())
  })

  it('is one of success, permanent and transient', () => {
    const of = (wanted: string) => REFRESH_OUTCOMES.filter(outcome => OUTCOME_DURATION[outcome] === wanted)
    expect(of('success')).toEqual(['rotated', 'renewed', 'reused', 'not_persisted'])
    expect(of('permanent')).toEqual([
      'invalidated',
      'grant_expired',
      'interaction_required',
      'malformed',
      'lost',
      'identity_mismatch',
      'needs_login',
    ])
    expect(of('transient')).toEqual(['refused', 'forbidden', 'throttled', 'unavailable', 'timeout', 'contention', 'blocked'])
  })

  it.each(REFRESH_OUTCOMES)('%s answers both questions by its duration', outcome => {
    expect(isSuccess(outcome)).toBe(OUTCOME_DURATION[outcome] === 'success')
    expect(isPermanent(outcome)).toBe(OUTCOME_DURATION[outcome] === 'permanent')
  })
})
