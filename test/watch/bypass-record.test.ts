import { expect, it } from 'vitest'
import { ATTR_UNCERTAINTY, ATTR_VIA, SPAN_REFRESH } from '../../otel/semconv.ts'
import { UNKNOWN_CALLER } from '../../src/domain/caller-site.ts'
import { judgeRefresh } from '../../src/providers/refresh-judgement.ts'
import { BypassRecord } from '../../src/watch/bypass-record.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

// A span without a way was read back from the store as one of the gate.
it('a token request that ends before its body is known is uncertain, and never one of the gate', () => {
  const { telemetry, spans } = observedTelemetry()
  const url = new URL('https://login.acme.example/token')
  const facts = {
    providerId: 'acme',
    url,
    caller: UNKNOWN_CALLER,
    policy: 'observe',
    judge: judgeRefresh,
    lineageOf: () => undefined,
  } as const
  new BypassRecord(telemetry, facts).ended({ error: new Error('the connection was closed') })
  expect(spans(SPAN_REFRESH)).toMatchObject([{ attributes: { [ATTR_VIA]: 'uncertain', [ATTR_UNCERTAINTY]: 'grant_unknown' } }])
})
