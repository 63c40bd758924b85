import diagnostics from 'node:diagnostics_channel'
import { Agent, type IncomingMessage } from 'node:http'
import { allowInsecureRequests, None, processRefreshTokenResponse, refreshTokenGrantRequest } from 'oauth4webapi'
import { describe, expect, it, vi } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CLIENT_PROCESS,
  ATTR_DECISION,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_PROFILE,
  ATTR_REASON,
  ATTR_REASON_DECLARED,
  ATTR_REPLAY,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  SPAN_ACQUIRE,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { isOAuth, type StoredProfile } from '../../src/domain/credential.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { ownershipDigest } from '../../src/refresh/token-ownership.ts'
import type { GrantOptions } from '../../src/simulator/grants.ts'
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import type { ProfileStore } from '../../src/store/profile-store.ts'
import { stateFolder } from '../support/clean-up.ts'
import { atTheEnd, codexLogin, eventually, type GatewayWorldOptions, gatewayWorld, login } from '../support/gateway-world.ts'
import { rawRequest } from '../support/raw-request.ts'

const CODEX = '/oauth/openai-codex/token'
const ROUTE = 'POST /oauth/:provider/token'
const JSON_TYPE = { 'content-type': 'application/json' }
const FORM_TYPE = { 'content-type': 'application/x-www-form-urlencoded' }
const OPENAI_GONE = {
  error: { code: 'refresh_token_expired', type: 'invalid_request_error', message: expect.stringContaining('sign in again') },
}
const KEY = 'gw-key-0123456789-a'

/** A provider that speaks plain RFC 6749, in the second profile of every world. */
const PLAIN = '/oauth/my-idp/token'

const refreshOf = ({ credential }: StoredProfile) => (isOAuth(credential) ? (credential.refresh ?? '') : '')
const accessOf = ({ credential }: StoredProfile) => (isOAuth(credential) ? (credential.access ?? '') : '')

/** A gateway with one login; the client at its token endpoint gate starts with the same tokens. */
async function tokenWorld(grant: Partial<GrantOptions> = {}, options: GatewayWorldOptions = {}) {
  const logins: StoredProfile[] = []
  const stored = (simulator: Simulator) => {
    const life = { firstAccessLifeMs: -1000, ...grant }
    logins.push(codexLogin(simulator, 'me', life), login(simulator, { provider: 'my-idp', account: 'plain', ...life }))
    return logins
  }
  const providers = ({ url }: Simulator) => ({ 'my-idp': { baseUrl: url, tokenUrl: url + TOKEN_PATHS.plain, clientId: 'c' } })
  const w = await gatewayWorld({ stored, providers, order: ['openai-codex:me'], ...options })
  const [mine, plain] = logins as [StoredProfile, StoredProfile]
  const form = (fields: Record<string, string>, headers: Record<string, string> = {}, path = CODEX) =>
    w.ask(path, { method: 'POST', headers: { 'user-agent': 'my-cli/1.2', ...headers }, body: new URLSearchParams(fields) })
  const refresh = (token: string, more: Record<string, string> = {}, headers?: Record<string, string>) =>
    form({ grant_type: 'refresh_token', refresh_token: token, ...more }, headers)
  const acquisitions = async (count = 1) =>
    eventually(() => {
      const found = w.spans(SPAN_ACQUIRE)
      if (found.length < count) throw new Error(`${found.length} acquisitions of ${count}`)
      return found.map(({ attributes }) => attributes)
    })
  return { ...w, mine, plain, form, refresh, acquisitions, tokenRequests: () => w.simulator.counts().tokenRequests.total }
}

describe('a client at the token endpoint gate', () => {
  it('refreshes through the gate and gets real tokens, which the provider takes', async () => {
    const w = await tokenWorld()
    const { status, headers, json } = await w.refresh(refreshOf(w.mine))
    expect({ status, store: headers.get('cache-control'), pragma: headers.get('pragma') }).toEqual({
      status: 200,
      store: 'no-store',
      pragma: 'no-cache',
    })
    expect(json).toEqual({
      access_token: expect.stringMatching(/^eyJ/),
      token_type: 'Bearer',
      expires_in: expect.any(Number),
      refresh_token: expect.stringMatching(/^rt_/),
      id_token: expect.stringMatching(/^eyJ/),
      scope: 'openid profile email offline_access',
    })
    expect(json.refresh_token).not.toBe(refreshOf(w.mine))
    expect(w.simulator.tokenRequests()).toMatchObject([{ refreshToken: 'current', userAgent: 'gatewatch' }])
    const headersOfClient = { authorization: `Bearer ${json.access_token}`, 'chatgpt-account-id': 'me' }
    expect((await fetch(`${w.simulator.url}/backend-api/codex/models`, { headers: headersOfClient })).status).toBe(200)
    expect(await w.acquisitions()).toMatchObject([
      { [ATTR_CALLER]: 'client:my-cli/1.2', [ATTR_CALLER_KIND]: 'client', [ATTR_DECISION]: 'lead', [ATTR_REASON]: 'expired' },
    ])
  })

  it('may send JSON, as the Codex CLI does, and its own reason is kept beside ours', async () => {
    const w = await tokenWorld()
    const body = {
      client_id: 'app_codex',
      grant_type: 'refresh_token',
      refresh_token: refreshOf(w.mine),
      refresh_reason: 'proactive_expiry',
    }
    expect((await w.post(CODEX, body)).status).toBe(200)
    expect(await w.acquisitions()).toMatchObject([{ [ATTR_REASON]: 'expired', [ATTR_REASON_DECLARED]: 'proactive_expiry' }])
    expect((await w.spanned(ROUTE)).attributes).toMatchObject({
      [ATTR_HTTP_STATUS]: 200,
      [ATTR_PROFILE]: 'openai-codex:me',
      [ATTR_REQUEST_ENCODING]: 'json',
      [ATTR_REQUEST_FIELDS]: expect.stringContaining('grant_type=refresh_token refresh_reason=opaque:16 refresh_token=opaque:'),
    })
  })

  it('is understood by an OAuth library that has never heard of us', async () => {
    let refresh = ''
    const stored = (simulator: Simulator) => {
      const profile = login(simulator, { provider: 'anthropic', account: 'me', firstAccessLifeMs: -1000 })
      refresh = refreshOf(profile)
      return [profile]
    }
    const w = await gatewayWorld({ stored })
    const server = { issuer: w.url, token_endpoint: `${w.url}/oauth/anthropic/token` }
    const client = { client_id: 'any' }
    const answer = await refreshTokenGrantRequest(server, client, None(), refresh, { [allowInsecureRequests]: true })
    expect(await processRefreshTokenResponse(server, client, answer)).toMatchObject({ refresh_token: expect.stringMatching(/^rt_/) })
  })

  it('goes on refreshing with what it was given, and so does the gateway', async () => {
    const w = await tokenWorld({ accessLifeMs: 60_000 })
    let held = refreshOf(w.mine)
    for (let round = 0; round < 3; round += 1) {
      const { json } = await w.refresh(held)
      expect(json.refresh_token).not.toBe(held)
      held = json.refresh_token
      expect((await w.responses()).status).toBe(200)
    }
    expect(w.simulator.tokenRequests().map(({ refreshToken }) => refreshToken)).toEqual(Array(6).fill('current'))
  })

  it('that comes while the gateway refreshes joins its refresh: one token request, both work', async () => {
    const arrived = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    const onTokenRequest = (step: string) => {
      if (step !== 'received') return undefined
      arrived.resolve()
      return held.promise
    }
    const w = await tokenWorld({}, { simulated: { onTokenRequest } })
    const call = w.responses()
    await arrived.promise
    const atTheGate = requestsRead(CODEX, 5)
    const clients = Array.from({ length: 5 }, () => w.refresh(refreshOf(w.mine)))
    await atTheGate
    held.resolve()
    const answers = await Promise.all(clients)
    expect((await call).status).toBe(200)
    expect(new Set(answers.map(({ status, json }) => `${status} ${json.access_token}`)).size).toBe(1)
    expect(answers[0]?.status).toBe(200)
    expect(w.tokenRequests()).toBe(1)
    const decisions = (await w.acquisitions(6)).map(acquisition => `${acquisition[ATTR_CALLER]} ${acquisition[ATTR_DECISION]}`)
    expect(decisions.filter(decision => decision === 'client:my-cli/1.2 join')).toHaveLength(5)
    const [refreshRun] = w.spans(SPAN_REFRESH)
    expect(refreshRun?.attributes['gatewatch.refresh.acquisitions']).toBe(6)
  })

  it('with a token that still works gets it again, and nothing is sent', async () => {
    const w = await tokenWorld({ firstAccessLifeMs: 3_600_000 })
    const { json } = await w.refresh(refreshOf(w.mine), { refresh_reason: 'forced' })
    expect(json).toMatchObject({ access_token: accessOf(w.mine), refresh_token: refreshOf(w.mine) })
    expect(json.expires_in).toBeGreaterThan(3_000)
    expect(w.tokenRequests()).toBe(0)
    expect(await w.acquisitions()).toMatchObject([{ [ATTR_REASON]: 'forced', [ATTR_DECISION]: 'reuse' }])
  })

  it('whose access token was rejected gets a new one, even while ours has not expired', async () => {
    const w = await tokenWorld({ firstAccessLifeMs: 3_600_000 })
    const { json } = await w.refresh(refreshOf(w.mine), { refresh_reason: 'unauthorized_recovery' })
    expect(json.access_token).not.toBe(accessOf(w.mine))
    expect(await w.acquisitions()).toMatchObject([{ [ATTR_REASON]: 'rejected', [ATTR_DECISION]: 'lead' }])
  })

  it.each([
    ['its own name', { 'x-gatewatch-caller': 'nightly-build' }, 'client:nightly-build'],
    ['the product of its user agent', { 'user-agent': 'codex_exec/0.169.0 (Debian; x86_64)' }, 'client:codex_exec/0.169.0'],
  ])('is called by %s', async (_what, headers, caller) => {
    const w = await tokenWorld()
    await w.refresh(refreshOf(w.mine), {}, headers)
    expect(await w.acquisitions()).toMatchObject([{ [ATTR_CALLER]: caller }])
  })

  // The search for the process took up to five seconds before the client had its answer (B6). It goes on beside it now: the
  // span of the request has what it finds, and an acquisition is called by it from the next request of the connection on.
  it.skipIf(process.platform !== 'linux')('that says nothing of itself is called by its process once that is known', async () => {
    const w = await tokenWorld()
    const { title } = process
    process.title = 'quiet-client'
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    atTheEnd(async () => {
      process.title = title
      agent.destroy()
    })
    const ask = async () => {
      const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshOf(w.mine) }).toString()
      expect((await rawRequest(w.url + CODEX, { method: 'POST', headers: FORM_TYPE, body, agent })).status).toBe(200)
    }
    await ask()
    expect((await w.spanned(ROUTE)).attributes[ATTR_CLIENT_PROCESS]).toBe('quiet-client')
    await ask()
    expect((await w.acquisitions(2)).map(acquisition => acquisition[ATTR_CALLER])).toEqual(['client:unknown', 'client:quiet-client'])
  })
})

describe('a client that is behind', () => {
  it('gets the newer tokens for the older one it held: nothing goes upstream, no grant is lost', async () => {
    const w = await tokenWorld()
    await w.responses()
    const { status, json } = await w.refresh(refreshOf(w.mine), { refresh_reason: 'proactive_expiry' })
    expect(status).toBe(200)
    expect(json.refresh_token).not.toBe(refreshOf(w.mine))
    expect(w.simulator.tokenRequests()).toMatchObject([{ refreshToken: 'current' }])
    expect((await w.acquisitions(2)).at(-1)).toMatchObject({ [ATTR_REASON]: 'expired', [ATTR_DECISION]: 'adopt' })
    expect((await w.spanned(ROUTE)).attributes[ATTR_REPLAY]).toBe(true)
  })

  it('says no reason, and none is made up', async () => {
    const w = await tokenWorld()
    await w.responses()
    await w.refresh(refreshOf(w.mine))
    expect((await w.acquisitions(2)).at(-1)).toMatchObject({ [ATTR_REASON]: 'unknown', [ATTR_DECISION]: 'adopt' })
  })

  it('leads a refresh where what is stored is about to expire, with the token that is good', async () => {
    const w = await tokenWorld({ accessLifeMs: 60_000 })
    const first = await w.refresh(refreshOf(w.mine))
    const second = await w.refresh(refreshOf(w.mine))
    expect([first.status, second.status]).toEqual([200, 200])
    expect(second.json.refresh_token).not.toBe(first.json.refresh_token)
    expect(w.simulator.tokenRequests().map(({ refreshToken }) => refreshToken)).toEqual(['current', 'current'])
  })

  it('is known after a restart as well', async () => {
    const folder = stateFolder()
    const first = await gatewayWorld({ store: fileStore(folder) })
    const mine = codexLogin(first.simulator, 'me', { firstAccessLifeMs: -1000 })
    const hand = fileStore(folder)
    await hand.change(mine.id, () => mine)
    await hand.close()
    const ask = { grant_type: 'refresh_token', refresh_token: refreshOf(mine) }
    const { refresh_token: newer } = await eventually(async () => {
      const { status, json } = await first.post(CODEX, ask)
      expect(status).toBe(200)
      return json
    })
    await first.serving.stop(0)
    await first.watch.close()

    const second = await gatewayWorld({ store: fileStore(folder) })
    expect(await second.post(CODEX, ask)).toMatchObject({ status: 200, json: { refresh_token: newer } })
    expect(second.simulator.counts().tokenRequests.total).toBe(0)
  })
})

// The current tokens went to any of the last 20 rotated ones, whatever their age: a token copied weeks ago was as good as the
// newest one. They go to a client that is behind by minutes (B6).
describe('a client that comes back late', () => {
  const rotatedSince = (profile: StoredProfile, sinceMs: number | undefined): StoredProfile => {
    const { credential } = profile
    if (!isOAuth(credential)) return profile
    const rotatedAwayAt = sinceMs === undefined ? {} : { rotatedAwayAt: [Date.now() - sinceMs] }
    const held = { heldBefore: [ownershipDigest('rt_former-0123456789', credential.account)], ...rotatedAwayAt }
    return { ...profile, rotatedAway: [fingerprint('rt_former-0123456789') ?? ''], ...held }
  }

  it.each<[string, number | undefined, number | undefined, number]>([
    ['just rotated away gets the newer ones', 1_000, undefined, 200],
    ['rotated away nine minutes ago gets them', 540_000, undefined, 200],
    ['rotated away ten minutes ago gets nothing', 600_000, undefined, 400],
    ['rotated away it is unknown when gets nothing', undefined, undefined, 400],
    ['rotated away within the time that is configured gets them', 3_000_000, 3_600_000, 200],
    ['just rotated away gets nothing where no time is configured', 1, 0, 400],
  ])('with a token %s', async (_what, sinceMs, rotationGraceMs, status) => {
    const stored = (simulator: Simulator) => [rotatedSince(codexLogin(simulator, 'me'), sinceMs)]
    const w = await gatewayWorld({ stored, ...(rotationGraceMs !== undefined && { gate: { rotationGraceMs } }) })
    const answer = await w.post(CODEX, { grant_type: 'refresh_token', refresh_token: 'rt_former-0123456789' }, { 'user-agent': 'my-cli/1' })
    expect(answer.status).toBe(status)
    expect(w.simulator.counts().tokenRequests.total).toBe(0)
    const { attributes } = await w.spanned(ROUTE)
    expect(attributes).toMatchObject({ [ATTR_REPLAY]: true, [ATTR_PROFILE]: 'openai-codex:me' })
    if (status === 200) return
    expect(answer.json).toMatchObject({ error: { code: 'invalid_grant', message: expect.stringContaining('gate.rotationGraceMs') } })
    expect(answer.text).not.toMatch(/eyJ|rt_/)
    expect(w.spans(SPAN_ACQUIRE).map(span => span.attributes)).toMatchObject([
      {
        [ATTR_DECISION]: 'refuse',
        [ATTR_PROFILE]: 'openai-codex:me',
        [ATTR_ERROR_TYPE]: 'GW_UNAUTHORIZED',
        [ATTR_CALLER]: 'client:my-cli/1',
      },
    ])
  })

  it('is refused after the time has passed since a rotation of this gateway', async () => {
    const w = await tokenWorld({}, { gate: { rotationGraceMs: 1 } })
    expect((await w.refresh(refreshOf(w.mine))).status).toBe(200)
    await eventually(async () => expect((await w.refresh(refreshOf(w.mine))).status).toBe(400))
  })

  // Seen: "rotated away more than 0.0666 min ago". Issue "1 of 6", point B6.
  it('is given the time in words', async () => {
    const stored = (simulator: Simulator) => [rotatedSince(codexLogin(simulator, 'me'), 5_000)]
    const w = await gatewayWorld({ stored, gate: { rotationGraceMs: 4_000 } })
    const { text } = await w.post(CODEX, { grant_type: 'refresh_token', refresh_token: 'rt_former-0123456789' })
    expect(text).toContain('rotated away more than 4 s ago')
  })
})

// Each request hashed the token once for every profile, before the limit of guesses was asked: 45 unknown tokens a second
// filled a core at 1,000 profiles. A token is looked up by its fingerprint, and a guess costs the same however many there are.
describe('among a thousand profiles', () => {
  it('a token is found, and a guess reads no profile', async () => {
    const simulator = await startSimulator()
    atTheEnd(() => simulator.stop())
    const profiles = Array.from({ length: 1_000 }, (_, index) =>
      codexLogin(simulator, `account-${index}`, { firstAccessLifeMs: 3_600_000 }),
    )
    const store = memoryStore(profiles)
    const reads: string[] = []
    const listings: number[] = []
    // The gauges read every profile each 15 s, which the guesses may take on a machine with other work.
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    atTheEnd(async () => vi.useRealTimers())
    const w = await gatewayWorld({
      store: {
        ...bound(store),
        read: id => {
          reads.push(id)
          return store.read(id)
        },
        list: () => {
          listings.push(performance.now())
          return store.list()
        },
      },
    })
    const ask = (refresh: string) => w.post(CODEX, { grant_type: 'refresh_token', refresh_token: refresh })
    for (const index of [0, 500, 999]) {
      const profile = profiles[index] as StoredProfile
      expect((await ask(refreshOf(profile))).json).toMatchObject({ access_token: accessOf(profile) })
    }
    reads.length = 0
    listings.length = 0
    const start = performance.now()
    for (let guess = 0; guess < 60; guess += 1) await ask(`rt_guess-${guess}`)
    const seconds = (performance.now() - start) / 1_000
    expect(reads).toEqual([])
    // Ten guesses are looked for in the store, and one more every ten seconds; else the listing is renewed once a second.
    expect(listings.length).toBeLessThanOrEqual(10 + Math.ceil(seconds / 10) + Math.ceil(seconds) + 1)
  })
})

describe('who holds no token of a profile', () => {
  it.each([
    ['an unknown token', 'rt_bm9ib2R5.x'],
    ['a fingerprint', '0123456789ab'],
    ['the beginning of a token', 'rt_'],
  ])('gets nothing for %s: invalid_grant, the provider is not asked, and it is counted', async (_what, token) => {
    const w = await tokenWorld()
    const { status, json, headers } = await w.refresh(token)
    expect({ status, json }).toEqual({
      status: 400,
      json: {
        error: {
          code: 'invalid_grant',
          type: 'invalid_request_error',
          param: null,
          message: 'no profile of openai-codex here holds or held this refresh token: sign in or import the profile in the gateway',
        },
      },
    })
    expect(headers.get('cache-control')).toBe('no-store')
    expect(w.tokenRequests()).toBe(0)
    expect(await w.acquisitions()).toMatchObject([{ [ATTR_DECISION]: 'refuse', [ATTR_ERROR_TYPE]: 'GW_PROFILE_UNKNOWN' }])
    expect(await w.series('acquisitions')).toMatchObject([
      { labels: { provider: 'openai-codex', profile: 'unknown', decision: 'refuse', caller: 'client:my-cli/1.2' }, value: 1 },
    ])
  })

  it('gets nothing for the token of a profile of another provider', async () => {
    const w = await tokenWorld()
    const form = { grant_type: 'refresh_token', refresh_token: refreshOf(w.mine) }
    expect(await w.form(form, {}, PLAIN)).toMatchObject({ status: 400, json: { error: 'invalid_grant' } })
    expect(w.tokenRequests()).toBe(0)
  })

  it('is put off when it guesses on, while those who hold one are served', async () => {
    const w = await tokenWorld()
    const guesses = []
    for (let guess = 0; guess < 15; guess += 1) guesses.push((await w.refresh(`rt_guess${guess}`)).status)
    expect(guesses).toEqual([...Array(10).fill(400), ...Array(5).fill(429)])
    const last = await w.refresh('rt_guess-more')
    expect(last).toMatchObject({ status: 429, json: { error: { code: 'slow_down' } } })
    expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await w.refresh(refreshOf(w.mine))).status).toBe(200)
    expect((await w.acquisitions(11)).filter(acquisition => acquisition[ATTR_DECISION] === 'refuse')).toHaveLength(10)
  })
})

describe('a refresh that fails', () => {
  it.each([
    ['openai-codex', 'in the words and with the status of OpenAI, whose clients then ask for a login', CODEX, 401, OPENAI_GONE],
    [
      'a plain provider',
      'as RFC 6749 says it',
      PLAIN,
      400,
      { error: 'invalid_grant', error_description: expect.stringContaining('sign in again') },
    ],
  ])('for good at %s gets %s', async (_provider, _how, path, status, body) => {
    const w = await tokenWorld()
    w.simulator.expireGrant('me')
    w.simulator.expireGrant('plain')
    const ask = { grant_type: 'refresh_token', refresh_token: refreshOf(path === CODEX ? w.mine : w.plain) }
    expect(await w.form(ask, {}, path)).toMatchObject({ status, json: body })
    // It is remembered: the second one gets the same, and nothing is sent.
    expect(await w.form(ask, {}, path)).toMatchObject({ status, json: body })
    expect(w.tokenRequests()).toBe(1)
  })

  it.each([
    ['a server error', 500, 503, 'temporarily_unavailable'],
    ['a wall in between', 403, 503, 'temporarily_unavailable'],
    ['too many requests', 429, 429, 'slow_down'],
  ])('for now (%s) may be tried again, and says when', async (_what, refused, status, error) => {
    const w = await tokenWorld()
    // Longer than the pause that is made without a word of the provider, which a slow machine may sleep through.
    w.simulator.inject({ where: 'token', status: refused, headers: { 'retry-after': '60' } })
    const ask = { grant_type: 'refresh_token', refresh_token: refreshOf(w.plain) }
    for (const _try of [1, 2]) {
      const answer = await w.form(ask, {}, PLAIN)
      expect(answer).toMatchObject({ status, json: { error, error_description: expect.stringContaining('my-idp:plain') } })
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    }
    expect(w.tokenRequests()).toBe(1)
  })

  it('for now says when to come again, even where the provider does not', async () => {
    const w = await tokenWorld()
    w.simulator.inject({ where: 'token', status: 500 })
    const { status, headers } = await w.form({ grant_type: 'refresh_token', refresh_token: refreshOf(w.plain) }, {}, PLAIN)
    expect(status).toBe(503)
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
  })

  it('stops no client whose token still works', async () => {
    const w = await tokenWorld({ firstAccessLifeMs: 60_000 })
    w.simulator.inject({ where: 'token', status: 500 })
    expect(await w.refresh(refreshOf(w.mine))).toMatchObject({ status: 200, json: { access_token: accessOf(w.mine) } })
  })

  it('goes on when the client that led it leaves, and serves those who stay', async () => {
    const arrived = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    const onTokenRequest = () => {
      arrived.resolve()
      return held.promise
    }
    const w = await tokenWorld({}, { simulated: { onTokenRequest } })
    const leaving = new AbortController()
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshOf(w.mine) })
    const left = fetch(w.url + CODEX, { method: 'POST', body, signal: leaving.signal })
    await arrived.promise
    leaving.abort()
    await expect(left).rejects.toThrow()
    await eventually(() => expect(w.spans(SPAN_ACQUIRE)).toMatchObject([{ attributes: { [ATTR_DECISION]: 'lead' } }]))
    const staying = w.refresh(refreshOf(w.mine))
    held.resolve()
    expect((await staying).status).toBe(200)
    expect(w.tokenRequests()).toBe(1)
  })
})

describe('what is no refresh', () => {
  const token = { refresh_token: 'rt_x' }
  it.each<[string, string | URLSearchParams, Record<string, string>, string, RegExp]>([
    ['nothing', '', JSON_TYPE, 'invalid_request', /not JSON/],
    ['no object', '[]', JSON_TYPE, 'invalid_request', /not a JSON object/],
    ['half of one', '{"grant_type":', JSON_TYPE, 'invalid_request', /not JSON/],
    ['neither form nor JSON', 'grant_type=refresh_token', { 'content-type': 'text/plain' }, 'invalid_request', /must be application/],
    ['no grant type', new URLSearchParams(token), {}, 'invalid_request', /grant_type is missing/],
    ['a grant type that is a list', '{"grant_type":["refresh_token"]}', JSON_TYPE, 'invalid_request', /grant_type is missing/],
    ['a code', new URLSearchParams({ grant_type: 'authorization_code', code: 'c' }), {}, 'unsupported_grant_type', /only refreshes/],
    ['no refresh token', new URLSearchParams({ grant_type: 'refresh_token' }), {}, 'invalid_request', /missing or empty/],
    ['one that is a number', '{"grant_type":"refresh_token","refresh_token":7}', JSON_TYPE, 'invalid_request', /missing or empty/],
    ['two of them', 'grant_type=refresh_token&refresh_token=a&refresh_token=b', FORM_TYPE, 'invalid_request', /twice/],
    [
      'the text of a missing one',
      new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'undefined' }),
      {},
      'invalid_request',
      /made of a missing one/,
    ],
  ])('%s is refused with what is wrong', async (_what, body, headers, error, description) => {
    const w = await tokenWorld()
    const answer = await w.ask(PLAIN, { method: 'POST', headers, body })
    expect(answer).toMatchObject({ status: 400, json: { error, error_description: expect.stringMatching(description) } })
    expect(w.tokenRequests()).toBe(0)
  })

  it('another method, provider or size is refused too', async () => {
    const w = await tokenWorld()
    expect(await w.ask(CODEX)).toMatchObject({ status: 405, json: { error: 'invalid_request' } })
    expect(await w.form({}, {}, '/oauth/unknown/token')).toMatchObject({
      status: 404,
      json: { error_description: expect.stringContaining('openai-codex') },
    })
    expect(await w.form({}, {}, '/oauth/openai/token')).toMatchObject({ status: 404 })
    const long = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'x'.repeat(300_000) })
    expect(await w.ask(PLAIN, { method: 'POST', body: long })).toMatchObject({ status: 413, json: { error: 'invalid_request' } })
  })
})

describe('the door of the token endpoint gate', () => {
  const ask = async (w: Awaited<ReturnType<typeof tokenWorld>>, headers: Record<string, string>, path = CODEX) => {
    const body = JSON.stringify({ grant_type: 'refresh_token', refresh_token: refreshOf(w.mine) })
    const { status, body: answer } = await rawRequest(w.url + path, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body })
    return { status, json: JSON.parse(answer.toString()) }
  }

  // It was open to all of loopback although there were keys, and so to everybody behind a proxy on the same machine. A client
  // that takes a URL takes no header: the key stands in the path (B1).
  it('needs a key where there are keys, in a header or as the last segment of the path', async () => {
    const odd = 'gw/key+0123456789 b'
    const w = await tokenWorld({}, { listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: `${KEY},${odd}` } })
    for (const [path, headers, status] of [
      ['', {}, 401],
      ['', { 'x-api-key': `${KEY}x` }, 401],
      ['', { authorization: `Bearer ${KEY}x` }, 401],
      [`/${KEY}x`, {}, 401],
      [`/${KEY.slice(0, -1)}`, {}, 401],
      [`/${encodeURIComponent(`${KEY},${odd}`)}`, {}, 401],
      [`/${KEY}`, {}, 200],
      [`/${encodeURIComponent(odd)}`, {}, 200],
      [`/${KEY}`, { host: 'gateway.example' }, 200],
      ['', { 'x-api-key': KEY }, 200],
      ['', { host: 'gateway.example', authorization: `Bearer ${KEY}` }, 200],
    ] as const)
      expect((await ask(w, headers, CODEX + path)).status, path + JSON.stringify(headers)).toBe(status)
    const refusal = await ask(w, {}, `${CODEX}/canary-0123456789`)
    expect(JSON.stringify(refusal.json)).toContain('/oauth/<provider>/token/<key>')
    expect(JSON.stringify(refusal.json)).not.toContain('canary')
    for (const method of ['GET', 'PUT']) expect((await w.ask(CODEX, { method })).status).toBe(401)
    expect((await w.ask(`${CODEX}/${KEY}`)).status).toBe(405)
  })

  it('shows the key of a path in no span, metric or page', async () => {
    const w = await tokenWorld({}, { listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: KEY } })
    await ask(w, {}, `${CODEX}/${KEY}`)
    await ask(w, {}, `${CODEX}/canary-0123456789`)
    await ask(w, {}, `/oauth/%E0%A4%A/token/${KEY}`)
    await ask(w, {}, `/oauth/openai-codex/tokens/${KEY}`)
    await eventually(() => expect(w.spans(`${ROUTE}/:key`).map(({ attributes }) => attributes[ATTR_PROFILE])).toContain('openai-codex:me'))
    const pages = ['/metrics', '/ops/data/counts', '/ops/data/refreshes', '/ops/data/overview']
    const read = await Promise.all(pages.map(async page => (await w.ask(page, { headers: { 'x-api-key': KEY } })).text))
    const shown = [JSON.stringify(w.spans()), ...read].join('\n')
    expect(shown).not.toContain(KEY)
    expect(shown).not.toContain('canary')
  })

  it('is closed past a proxy where there are no keys', async () => {
    const w = await tokenWorld()
    for (const header of ['forwarded', 'x-forwarded-for', 'x-forwarded-proto', 'x-real-ip', 'via'])
      expect((await ask(w, { [header]: '203.0.113.7' })).status, header).toBe(401)
    expect(w.tokenRequests()).toBe(0)
    expect((await ask(w, {})).status).toBe(200)
  })

  it.each([
    ['a name that is not loopback, as in DNS rebinding', { host: 'rebound.example' }, 401],
    ['a page of another site', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, 403],
    ['a page that is sandboxed', { origin: 'null' }, 403],
    ['a page of another port', { 'sec-fetch-site': 'same-site' }, 403],
  ])('is closed to %s', async (_who, headers, status) => {
    const w = await tokenWorld()
    expect(await ask(w, headers)).toMatchObject({ status, json: { error: 'invalid_client' } })
    expect(w.tokenRequests()).toBe(0)
  })
})

it('nothing of what clients show or get is in any span, metric or page', async () => {
  const w = await tokenWorld()
  const foreign = 'rt_c3RyYW5nZXI.0f9e8d7c6b5a4f3e2d1c'
  const secrets = [refreshOf(w.mine), accessOf(w.mine), foreign]
  await w.refresh(foreign, { client_id: 'app_client-of-a-stranger' })
  await w.refresh(refreshOf(w.mine), { client_secret: 'cs-0123456789abcdef', scope: 'me@example.com' }, { 'x-gatewatch-caller': foreign })
  for (const held of [refreshOf(w.mine), undefined]) {
    const { json } = await w.refresh(held ?? secrets.at(-1) ?? '')
    secrets.push(json.access_token, json.id_token, json.refresh_token)
  }
  await w.acquisitions(3)
  await w.spanned(ROUTE)
  const pages = ['/metrics', '/ops/data/status', '/ops/data/counts', '/ops/data/refreshes', '/ops/data/bypasses']
  const shown = [JSON.stringify(w.spans()), ...(await Promise.all(pages.map(async page => (await w.ask(page)).text)))].join('\n')
  for (const secret of [...secrets, 'cs-0123456789abcdef', 'me@example.com', 'app_client-of-a-stranger'])
    expect(shown).not.toContain(secret)
  expect(secrets.every(secret => typeof secret === 'string' && secret.length > 20)).toBe(true)
})

/** The methods of a store, so that single ones can be replaced. */
function bound(store: ProfileStore): ProfileStore {
  return {
    read: id => store.read(id),
    reload: id => store.reload(id),
    list: () => store.list(),
    change: (id, update) => store.change(id, update),
    lease: (id, options) => store.lease(id, options),
    close: () => store.close(),
  }
}

/** Resolves when that many requests for a path were read to their end; with profiles in memory they are at the gate a turn later. */
function requestsRead(path: string, count: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = count
  const onEnd = () => {
    left -= 1
    if (left === 0) setImmediate(resolve)
  }
  const onStart = (message: unknown) => {
    const { request } = message as { request: IncomingMessage }
    if (request.url === path) request.once('end', onEnd)
  }
  diagnostics.subscribe('http.server.request.start', onStart)
  atTheEnd(async () => diagnostics.unsubscribe('http.server.request.start', onStart))
  return promise
}
