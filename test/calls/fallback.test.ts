import { describe, expect, it } from 'vitest'
import { LABEL_REASON, LABELS } from '../../otel/semconv.ts'
import { AFTER_ATTEMPT, reasonOfAcquire } from '../../src/calls/fallback.ts'
import { ATTEMPT_OUTCOMES } from '../../src/domain/enums.ts'
import { GatewayError, type GatewayErrorCode } from '../../src/domain/gateway-error.ts'

describe('after an attempt', () => {
  it('every outcome says whether another profile may help', () => {
    expect(Object.keys(AFTER_ATTEMPT).sort()).toEqual([...ATTEMPT_OUTCOMES].sort())
    expect(ATTEMPT_OUTCOMES.filter(outcome => AFTER_ATTEMPT[outcome] === 'stop').sort()).toEqual(['aborted', 'format', 'ok'])
  })
})

describe('an acquisition that the gate refused', () => {
  const error = (code: GatewayErrorCode) => new GatewayError(code, 'x', { next: 'nothing' })
  it.each([
    [error('GW_NEEDS_LOGIN'), 'needs_login'],
    [error('GW_ACQUIRE_TIMEOUT'), 'timeout'],
    [error('GW_PROFILE_UNKNOWN'), 'missing_credential'],
    [error('GW_REFRESH_FAILED'), 'unavailable'],
    [error('GW_REFRESH_BACKOFF'), 'unavailable'],
    [error('GW_LEASE_TIMEOUT'), 'contention'],
    [new GatewayError('GW_REFRESH_FAILED', 'x', { next: 'try_again_later', outcome: 'throttled' }), 'throttled'],
    [new TypeError('x'), 'unavailable'],
  ])('%s is a fallback for %s, a word the label knows', (refusal, reason) => {
    expect(reasonOfAcquire(refusal)).toBe(reason)
    expect(LABELS[LABEL_REASON]?.values).toContain(reason)
  })
})
