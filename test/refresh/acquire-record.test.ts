import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CODE_FILE,
  ATTR_CODE_FUNCTION,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_DECISION,
  ATTR_ERROR_TYPE,
  ATTR_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_REASON,
  ATTR_REJECTED_FINGERPRINT,
  SPAN_ACQUIRE,
} from '../../otel/semconv.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { AcquireRecord } from '../../src/refresh/acquire-record.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'
import { callerAt, PROFILE } from '../support/world.ts'

const facts = { provider: 'openai-codex', profileId: PROFILE, caller: callerAt('answer'), reason: 'forced' } as const

describe('what is kept of an acquisition', () => {
  it('is a span that says who came, why, and what the gate did', () => {
    const { telemetry, spans } = observedTelemetry()
    new AcquireRecord(telemetry, { ...facts, rejected: 'abcdef012345' }).left('lead', { outcome: 'rotated' })
    expect(spans(SPAN_ACQUIRE).map(({ attributes, status }) => [attributes, status.code])).toEqual([
      [
        {
          [ATTR_PROVIDER]: 'openai-codex',
          [ATTR_PROFILE]: telemetry.profile(PROFILE),
          [ATTR_REASON]: 'forced',
          [ATTR_REJECTED_FINGERPRINT]: 'abcdef012345',
          [ATTR_DECISION]: 'lead',
          [ATTR_OUTCOME]: 'rotated',
          [ATTR_CALLER]: 'app/agent.ts#answer',
          [ATTR_CALLER_KIND]: 'code',
          [ATTR_CODE_FUNCTION]: 'answer',
          [ATTR_CODE_FILE]: 'app/agent.ts',
          [ATTR_CODE_LINE]: 7,
          'code.column.number': 3,
          [ATTR_CODE_STACK]: 'answer (app/agent.ts:7:3)',
          'gatewatch.caller.stack_id': 'abcdef012345',
        },
        0,
      ],
    ])
  })

  it('is a count and a wait, by caller, reason and decision', async () => {
    const { telemetry, series } = observedTelemetry()
    for (let acquisition = 0; acquisition < 3; acquisition += 1) new AcquireRecord(telemetry, facts).left('join')
    const labels = {
      provider: 'openai-codex',
      profile: telemetry.profile(PROFILE),
      reason: 'forced',
      decision: 'join',
      caller: 'app/agent.ts#answer',
    }
    expect(await series('acquisitions')).toEqual([{ labels, value: 3 }])
    expect(await series('acquisitionWait')).toEqual([{ labels, value: 3, sum: expect.any(Number) }])
  })

  it('a refusal is an error by its code; a caller who left is one by his own', () => {
    const { telemetry, spans } = observedTelemetry()
    new AcquireRecord(telemetry, facts).left('refuse', { error: new GatewayError('GW_NEEDS_LOGIN', 'no', { next: 'sign_in_again' }) })
    const [span] = spans(SPAN_ACQUIRE)
    expect([span?.attributes[ATTR_DECISION], span?.attributes[ATTR_ERROR_TYPE], span?.status]).toEqual([
      'refuse',
      'GW_NEEDS_LOGIN',
      { code: 2 },
    ])
  })
})
