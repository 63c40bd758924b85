import { describe, expect, it } from 'vitest'
import type { RefreshReason } from '../../../src/domain/enums.ts'
import type { GatewatchEvent } from '../../../src/domain/events.ts'
import { attempt, called, findings, kinds, RESPONSES, type RefreshFields, refresh, step } from '../events.ts'

describe('forced rotations', () => {
  const forced = (at: number) => refresh(at, { reason: 'forced', steps: [step('credential_reloaded', { credentialExpiresInS: 800_000 })] })

  it('five of them within ten minutes are a storm', () => {
    const [finding] = findings(...[0, 60, 120, 180, 240].map(forced))
    expect(finding).toMatchObject({ kind: 'forced_refresh_storm', severity: 'storm', confidence: 'certain', seen: { count: 5 } })
    expect(finding?.what).toContain('another 9 days')
  })

  it('four of them are not, nor are five within a day', () => {
    expect(kinds(...[0, 60, 120, 180].map(forced))).toEqual([])
    expect(kinds(...[0, 10_000, 20_000, 30_000, 40_000].map(forced))).toEqual([])
  })

  it('and any number of refreshes near the expiry are not', () => {
    expect(kinds(...Array.from({ length: 50 }, (_, at) => refresh(at)))).toEqual([])
  })

  it('of tokens of unknown expiry are reported as likely, with what would make it surer', () => {
    const [finding] = findings(...[0, 1, 2, 3, 4].map(at => refresh(at, { reason: 'forced' })))
    expect(finding).toMatchObject({ confidence: 'likely', surerBy: expect.stringContaining('expiry') })
  })
})

describe('the clock of the provider', () => {
  const skewed = (seconds: number, options: RefreshFields = {}) => refresh(10, { ...options, clockSkewS: seconds })

  it('a minute away is reported; half a minute may be the network', () => {
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
    refresh(at, { received: `r${at}`, ...(what !== undefined && { expiresInRepaired: what }), tokenAgeS: age })

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
    const loop = [0, 10, 20, 30, 40].map(at => refresh(at, { reason: 'forced', expiresInRepaired: 'zero', tokenAgeS: 10 }))
    expect(findings(...loop)).toMatchObject([{ kind: 'bad_expires_in', severity: 'storm', explains: [{ kind: 'forced_refresh_storm' }] }])
  })
})

describe('rotations that no model call waits for', () => {
  const polled = (at: number, reason: RefreshReason = 'forced') => [
    refresh(at, { reason, sent: `s${at}`, received: `r${at}` }),
    attempt(at + 1, 'ok', { genaiOperation: undefined, httpMethod: 'GET' }),
  ]
  const times = (count: number, reason?: RefreshReason) => Array.from({ length: count }, (_, index) => polled(index * 10, reason)).flat()

  it('by a poller are reported, as a storm when they are forced', () => {
    expect(findings(...times(5))).toMatchObject([
      { kind: 'poller_refreshes', severity: 'storm', explains: [{ kind: 'forced_refresh_storm' }] },
    ])
    expect(findings(...times(5, 'expired'))).toMatchObject([{ kind: 'poller_refreshes', severity: 'warning' }])
  })

  it.each<[string, GatewatchEvent[]]>([
    ['are three', times(3)],
    ['are meant to be made', times(8, 'scheduled')],
    [
      'have a model call between them',
      Array.from({ length: 8 }, (_, index) => [...polled(index * 10), attempt(index * 10 + 2, 'ok')]).flat(),
    ],
    ['have nothing between them', Array.from({ length: 8 }, (_, index) => refresh(index * 10, { reason: 'expired' }))],
  ])('are no poller where they %s', (_what, events) => {
    expect(kinds(...events)).not.toContain('poller_refreshes')
  })
})
