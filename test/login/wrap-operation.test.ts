import { SpanKind } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import { ATTR_CALLER, ATTR_ERROR_TYPE, ATTR_PROFILE, ATTR_PROVIDER } from '../../otel/semconv.ts'
import { WRAPPED_OPERATIONS, type WrappedOperation, wrapOperation } from '../../src/login/wrap-operation.ts'
import { carriedPermit } from '../../src/providers/permit.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

const TOKEN_URL = 'https://auth.test/oauth/token'

describe('a login, exchange or revocation of another caller’s', () => {
  it.each(Object.keys(WRAPPED_OPERATIONS) as WrappedOperation[])(
    '%s is seen with caller, provider and profile, and returns what it returns',
    async operation => {
      const { telemetry, spans } = observedTelemetry()
      const run = wrapOperation(telemetry, TOKEN_URL, operation, async (account: string, times: number) => account.repeat(times), {
        provider: 'anthropic',
        profile: account => `anthropic:${account}`,
      })
      async function signInAgain() {
        return run('ab', 2)
      }
      expect(await signInAgain()).toBe('abab')
      const [span, ...others] = spans(WRAPPED_OPERATIONS[operation])
      expect(others).toEqual([])
      expect(span?.kind).toBe(SpanKind.CLIENT)
      expect(span?.attributes).toMatchObject({
        [ATTR_PROVIDER]: 'anthropic',
        [ATTR_PROFILE]: 'anthropic:ab',
        [ATTR_CALLER]: 'test/login/wrap-operation.test.ts#signInAgain',
      })
    },
  )

  it('carries a permit while it runs: its token requests are meant', async () => {
    const { telemetry } = observedTelemetry()
    const login = wrapOperation(telemetry, TOKEN_URL, 'login', async () => carriedPermit()?.show(TOKEN_URL, {}), { provider: 'p' })
    expect(await login()).toBe(true)
    expect(carriedPermit()).toBeUndefined()
  })

  it('runs without a permit where no token URL is known', async () => {
    const { telemetry, spans } = observedTelemetry()
    const revoke = wrapOperation(telemetry, undefined, 'revoke', async () => carriedPermit(), { provider: 'p' })
    expect(await revoke()).toBeUndefined()
    expect(spans(WRAPPED_OPERATIONS.revoke)[0]?.attributes[ATTR_PROFILE]).toBeUndefined()
  })

  it('fails as it fails, and the span says by the error’s type alone', async () => {
    const { telemetry, spans, series } = observedTelemetry()
    const error = new TypeError('with a secret in it')
    const exchange = wrapOperation(telemetry, TOKEN_URL, 'exchange', async () => Promise.reject(error), { provider: 'p' })
    await expect(exchange()).rejects.toBe(error)
    const [span] = spans(WRAPPED_OPERATIONS.exchange)
    expect([span?.attributes[ATTR_ERROR_TYPE], span?.status]).toEqual(['TypeError', { code: 2 }])
    expect(await series('operationDuration')).toMatchObject([
      { value: 1, labels: { provider: 'p', operation: 'exchange', outcome: 'failed', [ATTR_ERROR_TYPE]: 'TypeError' } },
    ])
  })
})
