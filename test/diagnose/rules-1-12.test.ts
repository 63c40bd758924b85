import { describe, expect, it } from 'vitest'
import {
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_GATE_SEEN,
  ATTR_HTTP_STATUS,
  ATTR_POLICY,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  ATTR_TOKEN_AGE,
  EVENT_CREDENTIAL_RELOADED,
} from '../../otel/semconv.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import type { PlainSpan } from '../../src/diagnose/evidence.ts'
import type { Finding } from '../../src/diagnose/finding.ts'
import { attempt, CLI, evidence, GATEWAY, refresh, WORK } from './spans.ts'

const invalidated = { outcome: 'invalidated', permanent: true } as const

describe('a rotated token that is sent again', () => {
  it('by another process is a replay, and says who used it up', () => {
    const [finding] = findings(
      refresh(0, { sent: 'a1', received: 'a2', process: GATEWAY }),
      refresh(30, { sent: 'a1', process: CLI, ...invalidated }),
    )
    expect(finding).toMatchObject({ kind: 'rotated_token_replayed', severity: 'divergence' })
    expect(finding?.what).toContain('Process 100 rotated')
    expect(verdicts(finding)).toEqual({ token_rejected: 'excluded', another_caller: 'supported', request_shape: 'excluded' })
  })

  it('by the very process that rotated it is not reported as one of two processes', () => {
    const reported = kinds(
      refresh(0, { sent: 'a1', received: 'a2', process: GATEWAY }),
      refresh(30, { sent: 'a1', process: GATEWAY, ...invalidated }),
    )
    expect(reported).toEqual(['refresh_refused'])
  })

  it('until the newest token is refused as well has ended the login', () => {
    const reported = findings(
      refresh(0, { sent: 'a1', received: 'a2', process: GATEWAY }),
      refresh(30, { sent: 'a1', process: CLI, ...invalidated }),
      refresh(31, { sent: 'a1', process: CLI, ...invalidated }),
      refresh(60, { sent: 'a2', process: GATEWAY, ...invalidated }),
    )
    expect(reported).toHaveLength(1)
    expect(reported[0]).toMatchObject({
      kind: 'family_killed_by_replay',
      severity: 'grant_dead',
      callers: [{ count: 2, processes: [CLIrow] }],
    })
  })
})

describe('a refusal that nothing narrower explains', () => {
  it('is reported as one of a token used up by somebody unseen, where the provider says that it was used', () => {
    const [finding] = findings(refresh(0, { sent: 'z1', more: { [ATTR_PROVIDER_ERROR_CODE]: 'refresh_token_reused' }, ...invalidated }))
    expect(finding).toMatchObject({ kind: 'refresh_refused', title: expect.stringContaining('not recorded'), confidence: 'likely' })
    expect(verdicts(finding)).toEqual({ another_caller: 'supported' })
  })

  it('is reported as possible otherwise, and suspects the endpoint where the request looks as ever', () => {
    const fields = shape('grant_type=refresh_token refresh_token=opaque:71')
    const [finding] = findings(refresh(0, { more: fields }), refresh(60, { sent: 'z1', more: fields, ...invalidated }))
    expect(finding).toMatchObject({ kind: 'refresh_refused', confidence: 'possible' })
    expect(verdicts(finding)).toEqual({ token_rejected: 'supported', request_shape: 'excluded' })
  })
})

describe('a newest token that is refused', () => {
  it('without any replay before is no family killed by one', () => {
    expect(kinds(refresh(0, { sent: 'a1', received: 'a2' }), refresh(60, { sent: 'a2', ...invalidated }))).toEqual(['refresh_refused'])
  })
})

describe('a fresh login', () => {
  const young = { [ATTR_TOKEN_AGE]: 4 }

  it('whose first refresh is refused is reported as one, the endpoint being suspected', () => {
    const [finding] = findings(refresh(0, { sent: 'b1', reason: 'forced', more: young, ...invalidated }))
    expect(finding).toMatchObject({ kind: 'fresh_login_rejected', confidence: 'likely' })
    expect(verdicts(finding)).toEqual({ token_rejected: 'supported' })
  })

  it.each<[string, PlainSpan[]]>([
    ['that is an hour old', [refresh(0, { sent: 'b1', more: { [ATTR_TOKEN_AGE]: 3_600 }, ...invalidated })]],
    ['of unknown age', [refresh(0, { sent: 'b1', ...invalidated })]],
    [
      'whose token came from a rotation',
      [refresh(0, { sent: 'b0', received: 'b1' }), refresh(5, { sent: 'b1', more: young, ...invalidated })],
    ],
    // Seen: "do not refresh right after a login" for a login whose access token had ended (cases/27).
    ['whose access token has ended', [refresh(0, { sent: 'b1', reason: 'expired', more: young, ...invalidated })]],
    ['that is throttled', [refresh(0, { sent: 'b1', more: young, outcome: 'throttled', permanent: false })]],
  ])('%s is none', (_what, spans) => {
    expect(kinds(...spans)).not.toContain('fresh_login_rejected')
  })
})

describe('a refresh token that the endpoint refuses', () => {
  it('when the refresh was due says to sign in, first of all', () => {
    const [finding, ...others] = findings(refresh(0, { sent: 'b1', reason: 'expired', more: { [ATTR_TOKEN_AGE]: 4 }, ...invalidated }))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'refresh_refused', title: 'The token endpoint refuses the refresh token: the login has ended' })
    expect(finding?.remedy[0]).toMatch(/^Sign in again/)
  })
})

describe('a request without a token', () => {
  const good = shape('client_id=opaque:15 grant_type=refresh_token refresh_token=opaque:71')

  it('is reported with the field that is different from the last request that worked', () => {
    const [finding, ...others] = findings(
      refresh(0, { more: good }),
      refresh(60, {
        more: shape('client_id=opaque:15 grant_type=refresh_token refresh_token=literal:undefined'),
        outcome: 'malformed',
        permanent: true,
      }),
    )
    expect(others).toEqual([])
    expect(finding).toMatchObject({
      kind: 'undefined_token_sent',
      shape: { differences: ['field refresh_token is literal:undefined, was opaque:71'] },
    })
    expect(verdicts(finding)).toMatchObject({ token_rejected: 'excluded', request_shape: 'supported' })
  })

  it('but with an empty field is distinguished from it', () => {
    const empty = refresh(60, { more: shape('grant_type=refresh_token refresh_token=empty'), outcome: 'malformed', permanent: true })
    expect(kinds(empty)).toEqual(['empty_token_sent'])
  })

  it('is compared with requests of its own profile where there are any', () => {
    const [finding] = findings(
      refresh(0, { more: good }),
      refresh(10, { profile: 'openai-codex:other', more: shape('grant_type=refresh_token refresh_token=jwt') }),
      refresh(60, {
        more: shape('client_id=opaque:15 grant_type=refresh_token refresh_token=null'),
        outcome: 'malformed',
        permanent: true,
      }),
    )
    expect(finding?.shape?.differences).toEqual(['field refresh_token is null, was opaque:71'])
  })
})

describe('forced rotations', () => {
  const forced = (at: number) => refresh(at, { reason: 'forced', events: [reloaded(800_000)] })

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

  it('of tokens whose expiry nobody saw are reported as likely, with what would make it surer', () => {
    const [finding] = findings(...[0, 1, 2, 3, 4].map(at => refresh(at, { reason: 'forced' })))
    expect(finding).toMatchObject({ confidence: 'likely', surerBy: expect.stringContaining('expiry') })
  })
})

describe('a bypass', () => {
  it('alone is a warning with the place it came from', () => {
    const [finding] = findings(refresh(0, { via: 'bypass', sent: 'c1' }))
    expect(finding).toMatchObject({ kind: 'gate_bypassed', severity: 'warning', callers: [{ place: 'src/agent.ts:12' }] })
  })

  it('that used up the token of the gate is a dead login', () => {
    const reported = findings(refresh(0, { via: 'bypass', sent: 'c1' }), refresh(60, { sent: 'c1', ...invalidated }))
    expect(reported).toHaveLength(1)
    expect(reported[0]).toMatchObject({ kind: 'gate_bypassed', severity: 'grant_dead', explains: [{ kind: 'refresh_refused' }] })
  })

  it('that was stopped is reported as stopped, and as nothing else', () => {
    const reported = findings(refresh(0, { via: 'bypass', outcome: 'blocked', permanent: false }))
    expect(reported).toHaveLength(1)
    expect(reported[0]).toMatchObject({ kind: 'gate_bypassed', severity: 'warning', title: 'A token request past the gate was stopped' })
  })

  // Seen: "Refreshes fail in a way that may pass" counted what policy had held back. Issue 1, point A1.
  it('that was stopped is none of the refreshes that fail for now', () => {
    const blocked = [0, 1, 2].map(at => refresh(at, { via: 'bypass', outcome: 'blocked', permanent: false }))
    const failing = findings(...blocked, refresh(9, { sent: 'c1', outcome: 'forbidden', permanent: false })).filter(
      ({ kind }) => kind === 'refresh_failing',
    )
    expect(failing).toMatchObject([{ seen: { count: 1 }, outcomes: [{ word: 'forbidden', count: 1 }] }])
  })

  // Seen: "set the policy to enforce" below a request that enforce had refused. Issue 1, point A1.
  it('is never answered with the policy that is on', () => {
    const by = (policy: string, outcome: string) => findings(refresh(0, { via: 'bypass', outcome, more: { [ATTR_POLICY]: policy } }))
    const remedies = [by('enforce', 'blocked'), by('coalesce', 'rotated'), by('observe', 'rotated')].map(([finding]) =>
      String(finding?.remedy),
    )
    expect(remedies.map(remedy => remedy.includes('set the policy to enforce'))).toEqual([false, false, true])
    expect(remedies.map(remedy => remedy.includes('sign in again'))).toEqual([false, true, true])
  })

  it('in a process that had not seen the gate asks for the name of the gate', () => {
    const [finding] = findings(refresh(0, { via: 'bypass', more: { [ATTR_GATE_SEEN]: false } }))
    expect(String(finding?.remedy)).toContain('had not seen the declared gate')
  })
})

describe('a login that has expired', () => {
  it('is reported with its age', () => {
    const [finding] = findings(refresh(0, { outcome: 'grant_expired', permanent: true, more: { [ATTR_TOKEN_AGE]: 40 * 86_400 } }))
    expect(finding).toMatchObject({ kind: 'grant_expired', what: expect.stringContaining('40 days') })
  })
})

describe('401 from the API', () => {
  it('with time left to the expiry is told, with how the refresh after it ended', () => {
    const [finding] = findings(rejected(0, 864_000), refresh(1, { reason: 'rejected' }))
    expect(finding).toMatchObject({ kind: 'rejected_while_valid', what: expect.stringContaining('1 of 1 refresh') })
  })

  it('with an expired token is what is to be expected', () => {
    expect(kinds(rejected(0, -5))).toEqual([])
  })
})

const CLIrow = { pid: CLI.pid, role: CLI.role, title: CLI.title }

function rejected(at: number, expiresIn: number): PlainSpan {
  return attempt(at, 'auth', { [ATTR_HTTP_STATUS]: 401, [ATTR_CREDENTIAL_EXPIRES_IN]: expiresIn })
}

function shape(fields: string): PlainSpan['attributes'] {
  return { [ATTR_REQUEST_FIELDS]: fields, [ATTR_REQUEST_ENCODING]: 'form' }
}

function reloaded(expiresIn: number): PlainSpan['events'][number] {
  return { name: EVENT_CREDENTIAL_RELOADED, atMs: 0, attributes: { [ATTR_CREDENTIAL_EXPIRES_IN]: expiresIn } }
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

/** Every finding above is about this profile. */
it('names the profile', () => {
  expect(findings(refresh(0, invalidated))[0]?.profiles).toEqual([WORK])
})
