import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_NEXT,
  ATTR_PENDING_AGE,
  ATTR_PENDING_PROCESS,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_VIA,
  EVENT_CREDENTIAL_RELOADED,
  EVENT_LEASE_REQUESTED,
  EVENT_PERSISTED,
} from '../../otel/semconv.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import type { PlainSpan } from '../../src/diagnose/evidence.ts'
import type { Finding } from '../../src/diagnose/finding.ts'
import { CLI, evidence, GATEWAY, type Refreshed, refresh } from './spans.ts'

/** What makes a refresh one of our own gate. */
const asked: PlainSpan['events'][number] = { name: EVENT_LEASE_REQUESTED, atMs: 0, attributes: {} }

describe('a refresh whose answer nobody heard', () => {
  const timeout = unheard('timeout', 'TimeoutError')
  const reset = unheard('unavailable', 'ECONNRESET')

  it.each<[string, string, PlainSpan]>([
    ['that was given up', 'timed_out_after_rotation', timeout],
    ['whose connection broke', 'answer_lost', reset],
    ['that a proxy answered with 502', 'answer_lost', unheard('unavailable', 'unavailable', { status: 502 })],
    ['whose answer could not be read', 'answer_lost', unheard('unavailable', 'answer_not_json', { status: 200 })],
    ['that its process left behind', 'crash_before_persist', unheard('lost', 'lost', { permanent: true, process: CLI })],
  ])('%s is shown by the next one that is refused', (_what, kind, first) => {
    const [finding, ...others] = findings(first, spent(2))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind, severity: 'grant_dead', confidence: 'certain', seen: { count: 2 } })
    expect(verdicts(finding)).toEqual({ token_rejected: 'excluded', another_caller: 'excluded' })
  })

  it('is only likely to be the reason where the provider does not say that the token was used', () => {
    const [finding] = findings(timeout, spent(2, { code: 'refresh_token_invalidated' }))
    expect(finding).toMatchObject({ kind: 'timed_out_after_rotation', confidence: 'likely', surerBy: expect.any(String) })
  })

  it.each<[string, PlainSpan[], string[]]>([
    ['and the next one works: nothing was lost', [timeout, refresh(2, { sent: 't1', received: 't2' })], ['refresh_failing']],
    ['since it was never sent', [unheard('unavailable', 'ECONNREFUSED'), spent(2)], ['refresh_refused', 'token_endpoint_unavailable']],
    ['and another caller was seen to rotate the token', [timeout, rotatedBy(1), spent(2)], ['rotated_token_replayed', 'refresh_failing']],
    ['of another token', [unheard('timeout', 'TimeoutError', { sent: 't0' }), spent(2)], ['refresh_refused', 'refresh_failing']],
  ])('is not the reason %s', (_what, spans, expected) => {
    expect(kinds(...spans)).toEqual(expected)
  })
})

describe('a token that the store says was sent before', () => {
  const pending = { [ATTR_PENDING_PROCESS]: '300', [ATTR_PENDING_AGE]: 12 }

  it('by a process that recorded no end of it died with that process', () => {
    const [finding, ...others] = findings(spent(2, { outcome: 'lost', reloaded: pending }))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'crash_before_persist', what: expect.stringContaining('Process 300 sent') })
    expect(finding?.what).toContain('12 s before')
  })

  it('by a process that notified of its time-out did not', () => {
    expect(kinds(unheard('timeout', 'TimeoutError'), spent(2, { outcome: 'lost', reloaded: pending }))).toEqual([
      'timed_out_after_rotation',
    ])
  })

  it('and works all the same is nothing to tell: the provider had not taken it', () => {
    expect(kinds(refresh(2, { sent: 't1', received: 't2', events: [reloaded(pending)] }))).toEqual([])
  })
})

describe('a rotated token that could not be stored', () => {
  const unstored = refresh(0, {
    sent: 't1',
    received: 't2',
    outcome: 'not_persisted',
    process: GATEWAY,
    more: { [ATTR_NEXT]: 'free_disk_space' },
    events: [asked],
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
      events: [asked, { name: EVENT_PERSISTED, atMs: 0, attributes: {} }],
    })
    expect(findings(unstored, later)[0]?.what).toContain('a later one could')
  })

  it('and whose forerunner another process sends again is a dead login', () => {
    const [finding, ...others] = findings(
      unstored,
      spent(30, { outcome: 'lost', process: CLI, reloaded: { [ATTR_PENDING_PROCESS]: '100' } }),
    )
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'not_persisted', severity: 'grant_dead', callers: [{ processes: [{ pid: 100 }] }] })
  })

  it('is distinguished from a refresh that was not begun: nothing is lost there', () => {
    const [finding, ...others] = findings(
      refresh(0, { outcome: 'unavailable', permanent: false, more: { [ATTR_ERROR_TYPE]: 'GW_STORE_UNWRITABLE' }, events: [asked] }),
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
    const other = { ...again, attributes: { ...again.attributes, [ATTR_CALLER]: 'src/plugin.ts#refresh' } }
    const [finding] = findings(rotated, other)
    expect(finding).toMatchObject({ kind: 'not_persisted', severity: 'divergence' })
    expect(verdicts(finding)).toEqual({ token_rejected: 'excluded', another_caller: 'supported' })
  })

  it('past its gate is reported as a bypass', () => {
    expect(kinds({ ...rotated, attributes: { ...rotated.attributes, [ATTR_VIA]: 'bypass' } }, again)).toEqual(['gate_bypassed'])
  })
})

/** A refresh of the token `t1` that brought nothing that could be read. */
function unheard(outcome: string, errorType: string, { status, ...rest }: Refreshed & { status?: number } = {}): PlainSpan {
  const more = { [ATTR_ERROR_TYPE]: errorType, ...(status !== undefined && { [ATTR_HTTP_STATUS]: status }) }
  return refresh(0, { sent: 't1', outcome, permanent: false, process: GATEWAY, more, ...rest })
}

interface Spent extends Refreshed {
  readonly code?: string
  readonly reloaded?: PlainSpan['attributes']
}

/** A refresh that sends `t1` and is notified that it is spent. */
function spent(
  at: number,
  { code = 'refresh_token_reused', outcome = 'invalidated', process = GATEWAY, reloaded: reported }: Spent = {},
): PlainSpan {
  const more = { [ATTR_HTTP_STATUS]: 401, [ATTR_PROVIDER_ERROR_CODE]: code }
  return refresh(at, { sent: 't1', outcome, permanent: true, process, more, ...(reported && { events: [asked, reloaded(reported)] }) })
}

function rotatedBy(at: number): PlainSpan {
  return refresh(at, { sent: 't1', received: 't2', process: CLI })
}

function reloaded(attributes: PlainSpan['attributes']): PlainSpan['events'][number] {
  return { name: EVENT_CREDENTIAL_RELOADED, atMs: 0, attributes }
}

function findings(...spans: readonly PlainSpan[]): readonly Finding[] {
  return diagnose(evidence(...spans)).findings
}

function kinds(...spans: readonly PlainSpan[]): string[] {
  return findings(...spans).map(({ kind }) => kind)
}

function verdicts(finding: Finding | undefined): Record<string, string> {
  return Object.fromEntries((finding?.hypotheses ?? []).map(({ hypothesis, verdict }) => [hypothesis, verdict]))
}
