import { describe, expect, it } from 'vitest'
import type { GatewatchEvent } from '../../../src/domain/events.ts'
import { CLI, event, failed, findings, GATEWAY, kinds, refresh, spent, step, verdicts } from '../events.ts'

describe('a rotated token that could not be stored', () => {
  const unstored = refresh(0, {
    sent: 't1',
    received: 't2',
    outcome: 'not_persisted',
    process: GATEWAY,
    next: 'free_disk_space',
    steps: [step('lease_requested')],
  })

  it('is reported with what to do about the disk', () => {
    const [finding] = findings(unstored)
    expect(finding).toMatchObject({ kind: 'not_persisted', severity: 'divergence' })
    expect(finding?.remedy[1]).toContain('disk space')
    expect(finding?.what).toContain('lost when that process ends')
  })

  it('and was stored later is reported as over', () => {
    const later = refresh(60, {
      sent: 't2',
      received: 't3',
      process: GATEWAY,
      steps: [step('lease_requested'), step('persisted')],
    })
    expect(findings(unstored, later)[0]?.what).toContain('a later one could')
  })

  it('and whose forerunner another process sends again is a dead login', () => {
    const [finding, ...others] = findings(
      unstored,
      spent(30, {
        outcome: 'lost',
        process: CLI,
        steps: [step('lease_requested'), step('credential_reloaded', { pendingProcess: '100' })],
      }),
    )
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'not_persisted', severity: 'grant_dead', callers: [{ processes: [{ pid: 100 }] }] })
  })

  it('is distinguished from a refresh that was not begun: nothing is lost there', () => {
    const [finding, ...others] = findings(
      refresh(0, { outcome: 'unavailable', errorType: 'GW_STORE_UNWRITABLE', steps: [step('lease_requested')] }),
    )
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'not_persisted', severity: 'warning', what: expect.stringContaining('not begun') })
  })
})

describe('a process that sends a token which it has rotated itself', () => {
  const rotated = refresh(0, { sent: 't1', received: 't2', via: 'undeclared', process: CLI })
  const again = spent(30, { process: CLI })

  it('did not keep what it got', () => {
    const [finding, ...others] = findings(rotated, again)
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'not_persisted', severity: 'grant_dead', what: expect.stringContaining('was not kept') })
  })

  it('for another part of it has two parts that do not know of each other', () => {
    const other = { ...again, caller: { label: 'src/plugin.ts#refresh', kind: 'code' } as const }
    const [finding] = findings(rotated, other)
    expect(finding).toMatchObject({ kind: 'not_persisted', severity: 'divergence' })
    expect(verdicts(finding)).toEqual({ token_rejected: 'excluded', another_caller: 'supported' })
  })

  it('past its gate is reported as a bypass', () => {
    expect(kinds({ ...rotated, via: 'bypass' }, again)).toEqual(['gate_bypassed'])
  })
})

describe('an acquisition that ends by its own deadline', () => {
  const slow = { ...refresh(0, { reason: 'forced' }), durationMs: 15_000 }
  const acquire = (error: string, durationMs = 10_000) =>
    event('acquire', 0, { isError: true, durationMs, errorType: error, links: [slow] })

  it('before its refresh works is reported with both times', () => {
    const [finding] = findings(slow, acquire('GW_ACQUIRE_TIMEOUT'))
    expect(finding).toMatchObject({ kind: 'callback_deadline', severity: 'warning' })
    expect(finding?.what).toContain('gave up after 10 s; the refresh worked and took 15 s')
  })

  it.each<[string, GatewatchEvent[]]>([
    ['by a user who left', [slow, acquire('GW_ACQUIRE_ABORTED')]],
    [
      'of a refresh that failed',
      [{ ...refresh(0, { outcome: 'timeout' }), durationMs: 15_000, spanId: slow.spanId }, acquire('GW_ACQUIRE_TIMEOUT')],
    ],
  ])('%s is none', (_what, events) => {
    expect(kinds(...events)).not.toContain('callback_deadline')
  })
})

describe('a lease that is not got', () => {
  const starved = {
    ...refresh(1, { outcome: 'contention', process: GATEWAY, leaseHolder: '200', steps: [step('lease_requested')] }),
    durationMs: 90_000,
  }

  it('is reported with who held it and what he did', () => {
    const holding = { ...refresh(0, { process: CLI, steps: [step('lease_requested')] }), durationMs: 120_000 }
    const [finding, ...others] = findings(holding, starved)
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'lease_contention', confidence: 'certain' })
    expect(finding?.what).toContain('process 200 held it: its refresh, for answer (src/agent.ts:12), took 2 min (rotated)')
  })

  it('says so when nothing of the holder was recorded', () => {
    expect(findings(starved)[0]?.what).toContain('no refresh of it was recorded')
  })
})

describe('refreshes that wait and send nothing', () => {
  const waited = (at: number, durationMs = 120_000) => ({
    ...failed(at, 'unavailable', { tokenRequests: 0, errorType: 'ClaimPendingError' }),
    durationMs,
  })

  it('one after the other watch a claim that is never settled', () => {
    const [finding] = findings(refresh(0, { sent: 't1', received: 't2' }), waited(10), waited(150), waited(300))
    expect(finding).toMatchObject({
      kind: 'claim_orphaned',
      severity: 'storm',
      seen: { count: 3 },
      explains: [{ kind: 'refresh_failing' }],
    })
    expect(finding?.what).toContain('3 refreshes waited 120.0 s and gave up (ClaimPendingError)')
  })

  it.each<[string, GatewatchEvent[]]>([
    ['fail at once', [waited(0, 1), waited(1, 1), waited(2, 1)]],
    ['are two', [waited(0), waited(150)]],
    ['were before one that worked', [waited(0), waited(150), waited(300), refresh(500, { sent: 't1', received: 't2' })]],
  ])('are reported as failing where they %s', (_what, events) => {
    expect(kinds(...events)).toEqual(['refresh_failing'])
  })
})
