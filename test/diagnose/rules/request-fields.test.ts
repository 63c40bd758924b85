import { describe, expect, it } from 'vitest'
import { CLI, failed, findings, GATEWAY, kinds, type RefreshFields, refresh, verdicts } from '../events.ts'

describe('a request without a token', () => {
  const good = shape('client_id=opaque:15 grant_type=refresh_token refresh_token=opaque:71')

  it('is reported with the field that is different from the last request that worked', () => {
    const [finding, ...others] = findings(
      refresh(0, good),
      refresh(60, {
        ...shape('client_id=opaque:15 grant_type=refresh_token refresh_token=literal:undefined'),
        outcome: 'malformed',
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
    const empty = refresh(60, { ...shape('grant_type=refresh_token refresh_token=empty'), outcome: 'malformed' })
    expect(kinds(empty)).toEqual(['empty_token_sent'])
  })

  it('is compared with requests of its own profile where there are any', () => {
    const [finding] = findings(
      refresh(0, good),
      refresh(10, { profile: 'openai-codex:other', ...shape('grant_type=refresh_token refresh_token=jwt') }),
      refresh(60, {
        ...shape('client_id=opaque:15 grant_type=refresh_token refresh_token=null'),
        outcome: 'malformed',
      }),
    )
    expect(finding?.shape?.differences).toEqual(['field refresh_token is null, was opaque:71'])
  })
})

describe('an answer without a refresh token', () => {
  const retained = refresh(0, { sent: 't1', outcome: 'renewed', process: CLI, refreshTokenRetained: true })
  const empty = (at: number, process = CLI) =>
    failed(at, 'malformed', {
      process,
      requestFields: 'grant_type=refresh_token refresh_token=literal:undefined',
    })

  it('is how some providers refresh, and no finding', () => {
    expect(kinds(retained, refresh(60, { sent: 't1', outcome: 'renewed', process: CLI, refreshTokenRetained: true }))).toEqual([])
  })

  it('after which the same process sends none has had it thrown away', () => {
    const [finding, ...others] = findings(retained, empty(60), empty(61))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'refresh_token_retained', confidence: 'certain', seen: { count: 3 } })
    expect(verdicts(finding)).toEqual({ token_rejected: 'excluded', request_shape: 'supported' })
  })

  it('has nothing to do with another process that sends none', () => {
    expect(kinds(retained, empty(60, GATEWAY))).toEqual(['undefined_token_sent'])
  })

  it('after which the old token is refused is reported as that', () => {
    const refused = failed(60, 'invalidated', { sent: 't1', process: CLI })
    expect(findings(retained, refused)).toMatchObject([
      { kind: 'refresh_token_retained', confidence: 'likely', surerBy: expect.any(String) },
    ])
    expect(kinds(retained, refresh(30, { sent: 't1', received: 't2', process: GATEWAY }), refused)).toEqual(['rotated_token_replayed'])
  })
})

function shape(requestFields: string): RefreshFields {
  return { requestFields, requestEncoding: 'form' }
}
