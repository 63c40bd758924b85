import { describe, expect, it } from 'vitest'
import { challengeOf } from '../../src/simulator/sign-in.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { claimsOf, world } from './world.ts'

const CODEX = { provider: 'openai-codex', account: 'acc-1' }
const ANTHROPIC = { provider: 'anthropic', account: 'acc-2' }

describe('logins', () => {
  it('come with a JWT that carries expiry and the ChatGPT claims', async () => {
    const { simulator } = await world({ now: () => 1_700_000_000_500 })
    const grant = simulator.grantFor({ ...CODEX, accessLifeMs: 60_000, plan: 'pro', email: 'a@example.com' })
    expect(grant).toMatchObject({ account: 'acc-1', expiresAt: 1_700_000_060_000 })
    const claims = claimsOf(grant.access)
    expect(claims).toMatchObject({ iat: 1_700_000_000, exp: 1_700_000_060, sub: 'user-acc-1' })
    expect(claims['https://api.openai.com/auth']).toMatchObject({ chatgpt_account_id: 'acc-1', chatgpt_plan_type: 'pro' })
    expect(claims['https://api.openai.com/profile']).toMatchObject({ email: 'a@example.com' })
    expect(claimsOf(grant.idToken)).toMatchObject({ email: 'a@example.com' })
  })

  it('can be born expired and live after the first refresh', async () => {
    const { simulator, refresh, codex } = await world()
    const grant = simulator.grantFor({ ...CODEX, firstAccessLifeMs: 0 })
    expect((await codex(grant.access, 'acc-1')).json.error.code).toBe('token_expired')
    const fresh = await refresh(grant.refresh)
    expect((await codex(fresh.json.access_token, 'acc-1')).status).toBe(200)
  })
})

describe('rotation', () => {
  it.each(['form', 'json'])('gives new tokens for a %s request', async encoding => {
    const { simulator, post } = await world()
    const grant = simulator.grantFor(CODEX)
    const fields = { grant_type: 'refresh_token', refresh_token: grant.refresh, client_id: 'app_test' }
    const answer = await post(TOKEN_PATHS.openai, encoding === 'form' ? new URLSearchParams(fields) : fields)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.json).toMatchObject({ expires_in: 864_000, token_type: 'Bearer', id_token: expect.any(String) })
    expect(answer.json.refresh_token).not.toBe(grant.refresh)
    expect(answer.json.access_token).not.toBe(grant.access)
    expect(simulator.tokenRequests()).toMatchObject([
      { encoding, fields: ['client_id', 'grant_type', 'refresh_token'], outcome: 'rotated' },
    ])
  })

  it('lets exactly one of many simultaneous requests with one token win', async () => {
    const { simulator, refresh } = await world({ reuseKillsFamily: false })
    const grant = simulator.grantFor(CODEX)
    const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(grant.refresh)))
    expect(answers.filter(answer => answer.status === 200)).toHaveLength(1)
    expect(simulator.counts().tokenRequests).toEqual({ total: 20, committed: 1, byOutcome: { rotated: 1, refresh_token_reused: 19 } })
  })

  it('refuses the first replay and kills the family at the second', async () => {
    const { simulator, refresh, codex } = await world()
    const grant = simulator.grantFor(CODEX)
    const fresh = (await refresh(grant.refresh)).json
    const first = await refresh(grant.refresh)
    expect([first.status, first.json.error.code]).toEqual([401, 'refresh_token_reused'])
    expect((await codex(fresh.access_token, 'acc-1')).status).toBe(200)
    const second = await refresh(grant.refresh)
    expect([second.status, second.json.error.code]).toEqual([401, 'refresh_token_invalidated'])
    const innocent = await refresh(fresh.refresh_token)
    expect([innocent.status, innocent.json.error.code]).toEqual([401, 'refresh_token_invalidated'])
    const backend = await codex(fresh.access_token, 'acc-1')
    expect(backend.json).toMatchObject({ status: 401, error: { code: 'token_invalidated' } })
  })

  it('forgives every replay when set so', async () => {
    const { simulator, refresh } = await world({ reuseKillsFamily: false })
    const grant = simulator.grantFor(CODEX)
    const fresh = (await refresh(grant.refresh)).json
    for (let replay = 0; replay < 3; replay++) expect((await refresh(grant.refresh)).json.error.code).toBe('refresh_token_reused')
    expect((await refresh(fresh.refresh_token)).status).toBe(200)
  })

  it('keeps the families of one account apart', async () => {
    const { simulator, refresh } = await world()
    const [killed, other] = [simulator.grantFor(CODEX), simulator.grantFor(CODEX)]
    for (let use = 0; use < 3; use++) await refresh(killed.refresh)
    expect((await refresh(other.refresh)).status).toBe(200)
  })

  it('leaves the refresh token alone where it never rotates', async () => {
    const { simulator, refresh } = await world()
    const grant = simulator.grantFor({ provider: 'google', account: 'g', rotate: 'never' })
    for (let use = 0; use < 2; use++) {
      const answer = await refresh(grant.refresh, 'plain')
      expect(answer.status).toBe(200)
      expect(answer.json).not.toHaveProperty('refresh_token')
    }
    expect(simulator.counts().tokenRequests.byOutcome).toEqual({ renewed: 2 })
  })
})

describe('refusals', () => {
  it.each([
    ['not-a-token', 401, 'token_expired', 'Could not validate your token. Please try signing in again.', 'unknown'],
    ['undefined', 401, 'token_expired', 'Could not validate your token. Please try signing in again.', 'undefined'],
    ['', 400, 'empty_string', "Invalid 'refresh_token': empty string. Expected a string with minimum length 1", 'empty'],
  ])('answers the refresh token %j with %i %s', async (token, status, code, message, standing) => {
    const { simulator, refresh } = await world()
    const answer = await refresh(token)
    expect(answer.status).toBe(status)
    expect(answer.json.error).toMatchObject({ code, type: 'invalid_request_error' })
    expect(answer.json.error.message).toContain(message)
    expect(simulator.tokenRequests()).toMatchObject([{ refreshToken: standing, status, outcome: code, committed: false }])
  })

  it('says in each dialect that a token is unknown, expired, revoked or for another client', async () => {
    const { simulator, refresh } = await world()
    const expired = simulator.grantFor({ ...CODEX, account: 'old' })
    simulator.expireGrant('old')
    const revoked = simulator.grantFor(CODEX)
    simulator.revoke(revoked.refresh)
    const bound = simulator.grantFor({ ...CODEX, clientId: 'another' })
    const codes = async (dialect: 'openai' | 'plain') =>
      await Promise.all(
        ['rt_x.y', expired.refresh, revoked.refresh, bound.refresh].map(async token => {
          const { status, json } = await refresh(token, dialect)
          return `${status} ${json.error.code ?? json.error}`
        }),
      )
    expect(await codes('openai')).toEqual([
      '401 token_expired',
      '401 refresh_token_expired',
      '401 refresh_token_invalidated',
      '401 invalid_client',
    ])
    expect(await codes('plain')).toEqual(['400 invalid_grant', '400 invalid_grant', '400 invalid_grant', '401 invalid_client'])
  })

  it('speaks RFC 6749 about requests that are no token requests', async () => {
    const { post } = await world()
    const asked = async (body: unknown) => (await post(TOKEN_PATHS.plain, body)).json.error
    expect(await asked(new URLSearchParams({ grant_type: 'password' }))).toBe('unsupported_grant_type')
    expect(await asked(new URLSearchParams({ refresh_token: 'x' }))).toBe('invalid_request')
    expect(await asked({ grant_type: 'refresh_token', refresh_token: 'x' })).toBe('invalid_request')
    expect(await asked(new URLSearchParams({ grant_type: 'refresh_token' }))).toBe('invalid_request')
  })
})

describe('the Anthropic dialect', () => {
  it('wants JSON, rotates, and ends the login at the first replay', async () => {
    const { simulator, post, refresh } = await world()
    const grant = simulator.grantFor(ANTHROPIC)
    expect(
      (await post(TOKEN_PATHS.anthropic, new URLSearchParams({ grant_type: 'refresh_token', refresh_token: grant.refresh }))).status,
    ).toBe(400)
    const fresh = await refresh(grant.refresh, 'anthropic')
    expect(fresh.json).toMatchObject({ access_token: expect.any(String), refresh_token: expect.any(String), account: { uuid: 'acc-2' } })
    const replay = await refresh(grant.refresh, 'anthropic')
    expect([replay.status, replay.json.error]).toEqual([400, 'invalid_grant'])
    expect((await refresh(fresh.json.refresh_token, 'anthropic')).json.error).toBe('invalid_grant')
  })

  it('does not know logins of other providers', async () => {
    const { simulator, refresh } = await world()
    expect((await refresh(simulator.grantFor(CODEX).refresh, 'anthropic')).status).toBe(400)
    expect((await refresh(simulator.grantFor(ANTHROPIC).refresh, 'openai')).status).toBe(401)
  })
})

describe('authorization codes', () => {
  const redirectUri = 'http://localhost:1455/auth/callback'
  const redeem = (code: string, verifier: string) =>
    new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      code_verifier: verifier,
      redirect_uri: redirectUri,
      client_id: 'app_test',
    })

  it('are exchanged once, with the right verifier, for tokens that work', async () => {
    const { simulator, post, refresh } = await world()
    const code = simulator.authorizationCodeFor({ ...CODEX, codeChallenge: challengeOf('right'), redirectUri })
    const answer = await post(TOKEN_PATHS.openai, redeem(code, 'right'))
    expect(answer.status).toBe(200)
    expect((await refresh(answer.json.refresh_token)).status).toBe(200)
    expect((await post(TOKEN_PATHS.openai, redeem(code, 'right'))).json.error.code).toBe('invalid_grant')
    expect(simulator.tokenRequests()[0]).toMatchObject({
      grantType: 'authorization_code',
      refreshToken: 'absent',
      account: 'acc-1',
      outcome: 'exchanged',
    })
  })

  it('are worth nothing with a wrong verifier or when they are too old', async () => {
    const { simulator, post } = await world()
    const stolen = simulator.authorizationCodeFor({ ...CODEX, codeChallenge: challengeOf('right') })
    expect((await post(TOKEN_PATHS.plain, redeem(stolen, 'wrong'))).json.error).toBe('invalid_grant')
    const old = simulator.authorizationCodeFor({ ...CODEX, codeLifeMs: 0 })
    expect((await post(TOKEN_PATHS.plain, redeem(old, 'x'))).json.error).toBe('invalid_grant')
  })
})

describe('revocation', () => {
  it('ends the login and does not mind unknown tokens', async () => {
    const { simulator, post, refresh, codex } = await world()
    const grant = simulator.grantFor(CODEX)
    expect((await post('/oauth/revoke', new URLSearchParams({ token: 'unknown-token' }))).status).toBe(200)
    expect((await post('/oauth/revoke', new URLSearchParams({}))).json.error).toBe('invalid_request')
    expect((await post('/oauth/revoke', new URLSearchParams({ token: grant.refresh }))).status).toBe(200)
    expect((await refresh(grant.refresh)).json.error.code).toBe('refresh_token_invalidated')
    expect((await codex(grant.access, 'acc-1')).json.error.code).toBe('token_invalidated')
  })
})

describe('what is remembered', () => {
  it('never holds a token, and knows a rotated one from a current one', async () => {
    const { simulator, refresh } = await world()
    const grant = simulator.grantFor(CODEX)
    const fresh = (await refresh(grant.refresh, 'openai', { 'user-agent': 'codex_exec/0.169.0' })).json
    await refresh(grant.refresh)
    const log = simulator.tokenRequests()
    expect(log).toMatchObject([
      { refreshToken: 'current', generation: 0, account: 'acc-1', committed: true, userAgent: 'codex_exec/0.169.0' },
      { refreshToken: 'rotated', generation: 0, committed: false },
    ])
    const remembered = JSON.stringify([log, simulator.counts()])
    for (const token of [grant.refresh, grant.access, fresh.refresh_token, fresh.access_token]) expect(remembered).not.toContain(token)
  })

  it('calls the hook at each step, and the request waits for it', async () => {
    const steps: string[] = []
    let letGo = () => {}
    const held = new Promise<void>(resolve => {
      letGo = resolve
    })
    const { simulator, refresh } = await world({
      onTokenRequest: async step => {
        steps.push(`${step} ${simulator.counts().tokenRequests.committed}`)
        if (step === 'committed') await held
      },
    })
    const answer = refresh(simulator.grantFor(CODEX).refresh).then(({ status }) => steps.push(`answered ${status}`))
    await expect.poll(() => steps).toEqual(['received 0', 'committed 1'])
    letGo()
    await answer
    expect(steps).toEqual(['received 0', 'committed 1', 'answered 200'])
  })

  it('is forgotten by a reset, logins and faults included', async () => {
    const { simulator, refresh } = await world()
    const grant = simulator.grantFor(CODEX)
    simulator.inject({ where: 'token', name: 'unavailable_503' })
    await refresh(grant.refresh)
    simulator.reset()
    expect(simulator.counts()).toEqual({
      tokenRequests: { total: 0, committed: 0, byOutcome: {} },
      providerCalls: { total: 0, byPath: {} },
    })
    expect((await refresh(grant.refresh)).json.error.code).toBe('token_expired')
  })
})
