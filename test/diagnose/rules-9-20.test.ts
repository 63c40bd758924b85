import { describe, expect, it } from 'vitest'
import {
  ATTR_CLOCK_SKEW,
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_ERROR_TYPE,
  ATTR_EXPIRES_IN_REPAIRED,
  ATTR_HTTP_STATUS,
  ATTR_LEASE_HOLDER,
  ATTR_TOKEN_AGE,
  ATTR_URL_PATH,
  EVENT_LEASE_REQUESTED,
  SPAN_ACQUIRE,
} from '../../otel/semconv.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import type { PlainSpan } from '../../src/diagnose/evidence.ts'
import type { Finding } from '../../src/diagnose/finding.ts'
import { attempt, CLI, evidence, GATEWAY, type Refreshed, refresh, span } from './spans.ts'

const RESPONSES = '/backend-api/codex/responses'
const MODELS = '/backend-api/codex/models'
/** What makes a refresh one of our own gate. */
const asked: PlainSpan['events'][number] = { name: EVENT_LEASE_REQUESTED, atMs: 0, attributes: {} }

describe('401 of one path', () => {
  it('while another one takes the same token afterwards is the path, not the token', () => {
    const [finding, ...others] = findings(called(0, MODELS, 401), called(1, MODELS, 401), called(2, MODELS, 401), called(3, RESPONSES))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'endpoint_rejects_token', what: expect.stringContaining(MODELS) })
  })

  it.each<[string, PlainSpan[]]>([
    ['the other path took the token only before: it may have ended since', [called(0, RESPONSES), called(1, MODELS, 401)]],
    ['the other path took another token', [called(0, MODELS, 401), called(1, RESPONSES, 200, 'bbbbbbbbbbbb')]],
    ['the path served other calls with it', [called(0, MODELS, 401), called(1, MODELS), called(2, RESPONSES)]],
  ])('is not reported as such where %s', (_what, spans) => {
    expect(kinds(...spans)).toEqual(['rejected_while_valid'])
  })
})

describe('a refused token that is sent again', () => {
  const row = [0, 1, 3, 7].map(at => called(at, RESPONSES, 401))

  it('three times and more in a row is reported with how long it took', () => {
    const [finding, ...others] = findings(...row)
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'same_token_retried', seen: { count: 4 } })
    expect(finding?.what).toContain('4 times within 7.1 s')
  })

  it.each<[string, PlainSpan[]]>([
    ['twice', row.slice(0, 2)],
    ['with a refresh in between', [...row.slice(0, 2), refresh(2, { reason: 'rejected' }), ...row.slice(2)]],
    ['with a good answer in between', [...row.slice(0, 2), called(2, RESPONSES), ...row.slice(2)]],
    ['minutes later', [0, 100, 200].map(at => called(at, RESPONSES, 401))],
    ['by calls that run side by side', [0, 0.01, 0.02].map(at => called(at, RESPONSES, 401))],
  ])('%s is no habit', (_what, spans) => {
    expect(kinds(...spans)).not.toContain('same_token_retried')
  })
})

describe('an acquisition that ends by its own deadline', () => {
  const slow = { ...refresh(0, { reason: 'forced' }), durationMs: 15_000 }
  const acquire = (error: string, durationMs = 10_000) =>
    span(SPAN_ACQUIRE, 0, { status: 'error', durationMs, attributes: { [ATTR_ERROR_TYPE]: error }, links: [slow] })

  it('before its refresh works is reported with both times', () => {
    const [finding] = findings(slow, acquire('GW_ACQUIRE_TIMEOUT'))
    expect(finding).toMatchObject({ kind: 'callback_deadline', severity: 'warning' })
    expect(finding?.what).toContain('gave up after 10 s; the refresh worked and took 15 s')
  })

  it.each<[string, PlainSpan[]]>([
    ['by a user who left', [slow, acquire('GW_ACQUIRE_ABORTED')]],
    [
      'of a refresh that failed',
      [{ ...refresh(0, { outcome: 'timeout', permanent: false }), durationMs: 15_000, spanId: slow.spanId }, acquire('GW_ACQUIRE_TIMEOUT')],
    ],
  ])('%s is none', (_what, spans) => {
    expect(kinds(...spans)).not.toContain('callback_deadline')
  })
})

describe('a lease that is not got', () => {
  const starved = {
    ...refresh(1, { outcome: 'contention', permanent: false, process: GATEWAY, more: { [ATTR_LEASE_HOLDER]: '200' }, events: [asked] }),
    durationMs: 90_000,
  }

  it('is reported with who held it and what he did', () => {
    const holding = { ...refresh(0, { process: CLI, events: [asked] }), durationMs: 120_000 }
    const [finding, ...others] = findings(holding, starved)
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'lease_contention', confidence: 'certain' })
    expect(finding?.what).toContain('process 200 held it: its refresh, for answer (src/agent.ts:12), took 2 min (rotated)')
  })

  it('says so when nothing of the holder was recorded', () => {
    expect(findings(starved)[0]?.what).toContain('no refresh of it was recorded')
  })
})

describe('the clock of the provider', () => {
  const skewed = (seconds: number, options: Refreshed = {}) => refresh(10, { ...options, more: { [ATTR_CLOCK_SKEW]: seconds } })

  it('a minute away is told; half a minute may be the network', () => {
    expect(kinds(skewed(60))).toEqual(['clock_skew'])
    expect(kinds(skewed(-30))).toEqual([])
  })

  it('ahead of ours explains a 401 with less time left than that, and no other', () => {
    const [finding, ...others] = findings(called(0, RESPONSES, 401, 'aaaaaaaaaaaa', 900), skewed(1_200, { reason: 'rejected' }))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'clock_skew', confidence: 'certain', what: expect.stringContaining('1200 s behind') })
    expect(kinds(called(0, RESPONSES, 401, 'aaaaaaaaaaaa', 864_000), skewed(1_200))).toContain('rejected_while_valid')
  })
})

describe('the life of a token', () => {
  const said = (at: number, what: string | undefined, age = 3_600) =>
    refresh(at, { received: `r${at}`, more: { ...(what !== undefined && { [ATTR_EXPIRES_IN_REPAIRED]: what }), [ATTR_TOKEN_AGE]: age } })

  it.each(['zero', 'string', 'milliseconds'])('that is said as %s is a warning', what => {
    expect(findings(said(0, what))).toMatchObject([{ kind: 'bad_expires_in', severity: 'warning', what: expect.stringContaining(what) }])
  })

  it('that a provider never says, or always says as a moment, is how that provider is', () => {
    expect(kinds(said(0, 'missing'), said(3_600, 'missing'), said(7_200, 'absolute'))).toEqual(['bad_expires_in'])
    expect(kinds(said(0, 'missing'), said(3_600, 'missing'))).toEqual([])
    expect(kinds(said(0, 'absolute'))).toEqual([])
  })

  it('that it said before and leaves out now is a warning', () => {
    expect(kinds(said(0, undefined), said(3_600, 'missing'))).toEqual(['bad_expires_in'])
  })

  it('that is unusable and has a client refresh again and again is a storm, and the reason of it', () => {
    const loop = [0, 10, 20, 30, 40].map(at =>
      refresh(at, { reason: 'forced', more: { [ATTR_EXPIRES_IN_REPAIRED]: 'zero', [ATTR_TOKEN_AGE]: 10 } }),
    )
    expect(findings(...loop)).toMatchObject([{ kind: 'bad_expires_in', severity: 'storm', explains: [{ kind: 'forced_refresh_storm' }] }])
  })
})

/** A request to a provider with an access token that says it is good for ten days. */
function called(at: number, path: string, status = 200, token = 'aaaaaaaaaaaa', expiresIn = 864_000): PlainSpan {
  return attempt(at, status === 200 ? 'ok' : 'auth', {
    [ATTR_HTTP_STATUS]: status,
    [ATTR_URL_PATH]: path,
    [ATTR_CREDENTIAL_FINGERPRINT]: token,
    [ATTR_CREDENTIAL_EXPIRES_IN]: expiresIn,
  })
}

function findings(...spans: readonly PlainSpan[]): readonly Finding[] {
  return diagnose(evidence(...spans)).findings
}

function kinds(...spans: readonly PlainSpan[]): string[] {
  return findings(...spans).map(({ kind }) => kind)
}
