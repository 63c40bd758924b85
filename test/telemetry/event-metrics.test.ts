import { expect, it } from 'vitest'
import { ATTR_ERROR_TYPE } from '../../otel/semconv.ts'
import type { GatewatchEvent, TokenRequestEvent } from '../../src/domain/events.ts'
import { measureEvent, measureStep } from '../../src/telemetry/event-metrics.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

const BASE = {
  startMs: 1_000,
  durationMs: 2_000,
  traceId: 'a'.repeat(32),
  spanId: 'b'.repeat(16),
  links: [],
  caller: { label: 'src/a.ts#f', kind: 'code' },
  provider: 'acme',
  isError: false,
  steps: [],
  standsFor: 1,
} as const
const REFRESH: TokenRequestEvent = { ...BASE, kind: 'token_request', grant: 'refresh', reason: 'expired', via: 'gate', outcome: 'rotated' }
const LABELS = { provider: 'acme', profile: 'unknown', caller: 'src/a.ts#f' }

async function counted(event: GatewatchEvent) {
  const { telemetry, series } = observedTelemetry()
  measureEvent(event, telemetry.instruments)
  const keys = [
    'refreshDuration',
    'tokenRequestDuration',
    'bypasses',
    'replays',
    'tokenAge',
    'acquisitions',
    'attemptDuration',
    'imports',
  ] as const
  const all = await Promise.all(
    keys.map(async key => [key, (await series(key)).map(({ labels, sum, value }) => ({ ...labels, n: sum ?? value }))]),
  )
  return Object.fromEntries(all.filter(([, rows]) => rows?.length !== 0))
}

it('a refresh counts with its reason, and by the age of the token', async () => {
  expect(await counted({ ...REFRESH, profile: 'main', tokenAgeS: 7 })).toEqual({
    refreshDuration: [{ ...LABELS, profile: 'main', reason: 'expired', outcome: 'rotated', via: 'gate', n: 2 }],
    tokenAge: [{ provider: 'acme', profile: 'main', reason: 'expired', n: 7 }],
  })
})

it('a refresh past the gate is a bypass, and a replay where its token had been rotated away', async () => {
  const bypass = {
    via: 'bypass',
    policy: 'observe',
    outcome: 'invalidated',
    errorType: 'invalidated',
    replay: true,
    isError: true,
  } as const
  expect(await counted({ ...REFRESH, ...bypass })).toEqual({
    refreshDuration: [{ ...LABELS, reason: 'expired', outcome: 'invalidated', via: 'bypass', [ATTR_ERROR_TYPE]: 'invalidated', n: 2 }],
    bypasses: [{ provider: 'acme', caller: 'src/a.ts#f', policy: 'observe', n: 1 }],
    replays: [{ ...LABELS, n: 1 }],
  })
})

it('a request for another grant is no refresh', async () => {
  expect(await counted({ ...REFRESH, grant: 'other', via: 'undeclared', outcome: 'granted' })).toEqual({
    tokenRequestDuration: [{ ...LABELS, outcome: 'granted', via: 'undeclared', n: 2 }],
  })
})

it('an attempt counts where its path is that of a model call', async () => {
  const attempt = { ...BASE, kind: 'attempt', outcome: 'ok', standsFor: 0 } as const
  expect(await counted(attempt)).toEqual({})
  expect(await counted({ ...attempt, genaiOperation: 'chat', model: 'm-1', hasAccess: false })).toEqual({
    attemptDuration: [{ ...LABELS, model: 'm-1', credential_type: 'token', outcome: 'ok', n: 2 }],
  })
})

it('profiles that were imported count by provider and outcome, those of a dry run do not', async () => {
  const imported = {
    ...BASE,
    kind: 'import',
    importSource: 'codex',
    importCounts: { imported: 2, exists: 1 },
    importCountsByProvider: { acme: { imported: 2 }, other: { exists: 1, imported: 0 } },
  } as const
  expect(await counted(imported)).toEqual({
    imports: [
      { application: 'codex', provider: 'acme', outcome: 'imported', n: 2 },
      { application: 'codex', provider: 'other', outcome: 'exists', n: 1 },
    ],
  })
  expect(await counted({ ...imported, dryRun: true })).toEqual({})
})

it('a call that goes on to another profile counts with the step, and so does the change of who pays', async () => {
  const { telemetry, series } = observedTelemetry()
  const move = { provider: 'acme', fallbackFrom: 'main', fallbackTo: 'key', fallbackReason: 'rate_limit' }
  for (const name of ['fallback', 'billing_changed'] as const)
    measureStep({ ...move, name }, { ...BASE, kind: 'call', provider: 'served' }, telemetry.instruments)
  const labels = { provider: 'acme', from: 'main', to: 'key', reason: 'rate_limit' }
  for (const key of ['fallbacks', 'billingChanges'] as const) expect(await series(key)).toEqual([{ labels, value: 1 }])
})
