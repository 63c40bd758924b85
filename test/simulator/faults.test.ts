import { describe, expect, it } from 'vitest'
import type { Fault } from '../../src/simulator/fault.ts'
import { FAULT_NAMES, namedFault, renderTimes } from '../../src/simulator/fault.ts'
import { claimsOf, world } from './world.ts'

const CODEX = { provider: 'openai-codex', account: 'acc' }
const KEY = 'sk-test-key'

async function faultyWorld() {
  const now = 1_800_000_000_000
  const w = await world({ now: () => now })
  w.simulator.addApiKey(KEY, { provider: 'openai' })
  return { ...w, now, grant: w.simulator.grantFor(CODEX) }
}

describe('named faults', () => {
  it.each(FAULT_NAMES)('%s is answered as the table says, by token endpoints and providers', async name => {
    const { simulator, refresh, chat, grant, now } = await faultyWorld()
    const { status, body, headers = {} } = namedFault(name)
    simulator.inject({ where: 'all', name, times: 2 })
    for (const answer of [await refresh(grant.refresh), await chat(KEY)]) {
      expect(answer.status).toBe(status)
      if (typeof body === 'string') expect(answer.text).toBe(body)
      else expect(answer.json).toEqual(renderTimes(body, now))
      for (const [header, value] of Object.entries(headers)) expect(answer.headers.get(header)).toBe(value)
    }
    expect(simulator.tokenRequests()).toMatchObject([{ outcome: name, status, committed: false }])
    expect((await refresh(grant.refresh)).status).toBe(200)
  })

  it('count their times from now', async () => {
    const { simulator, chat, now } = await faultyWorld()
    simulator.inject({ where: 'provider', name: 'usage_limit_429' })
    expect((await chat(KEY)).json.error.resets_at).toBe(now / 1000 + 3600)
  })
})

describe('where, how often and for which account', () => {
  it('a path pattern hits that path alone', async () => {
    const { simulator, chat, get } = await faultyWorld()
    simulator.inject({ where: '/v1/mod*', name: 'token_expired_401' })
    expect((await get('/v1/models', { authorization: `Bearer ${KEY}` })).status).toBe(401)
    expect((await chat(KEY)).status).toBe(200)
  })

  it('faults with times form a sequence, and one can be taken down again', async () => {
    const { simulator, chat } = await faultyWorld()
    simulator.inject({ where: 'provider', skip: 1, times: 1, name: 'overloaded_529' })
    const lasting = simulator.inject({ where: 'provider', name: 'unavailable_503' })
    const statuses = []
    for (let call = 0; call < 4; call++) statuses.push((await chat(KEY)).status)
    expect(statuses).toEqual([503, 529, 503, 503])
    expect(lasting.hits()).toBe(3)
    lasting.remove()
    expect((await chat(KEY)).status).toBe(200)
  })

  it('a fault for one account leaves the others alone, at both endpoints', async () => {
    const { simulator, refresh, codex, grant } = await faultyWorld()
    const other = simulator.grantFor({ ...CODEX, account: 'other' })
    simulator.inject({ where: 'all', account: 'acc', name: 'region_403' })
    expect((await refresh(grant.refresh)).status).toBe(403)
    expect((await codex(grant.access, 'acc')).status).toBe(403)
    expect((await refresh(other.refresh)).status).toBe(200)
    expect((await codex(other.access, 'other')).status).toBe(200)
  })

  it('a firewall lets one User-Agent pass', async () => {
    const { simulator, refresh, grant } = await faultyWorld()
    simulator.inject({ where: 'token', unlessUserAgent: 'claude-cli/*', name: 'anthropic_firewall_429' })
    const stopped = await refresh(grant.refresh, 'openai', { 'user-agent': 'node' })
    expect([stopped.status, stopped.headers.get('retry-after')]).toEqual([429, null])
    expect((await refresh(grant.refresh, 'openai', { 'user-agent': 'claude-cli/2.1' })).status).toBe(200)
  })

  it.each([
    [{ where: 'somewhere' }, 'where'],
    [{ where: 'token', name: 'no_such_fault' }, 'name'],
    [{ where: 'token', times: 0 }, 'times'],
    [{ where: 'token', latency: 5 }, 'latency'],
    [{ where: 'token', body: {} }, 'status or a name'],
  ])('%j is refused and the message names what is wrong', async (fault, named) => {
    const { simulator } = await faultyWorld()
    expect(() => simulator.inject(fault as unknown as Fault)).toThrow(
      expect.objectContaining({ code: 'GW_CONFIG', message: expect.stringContaining(named) }),
    )
  })
})

describe('effects on a token answer', () => {
  it.each([
    ['missing', undefined],
    ['zero', 0],
    ['string', '864000'],
    ['milliseconds', 864_000_000],
  ] as const)('expires_in can be %s', async (expiresIn, expected) => {
    const { simulator, refresh, grant } = await faultyWorld()
    simulator.inject({ where: 'token', expiresIn })
    expect((await refresh(grant.refresh)).json.expires_in).toBe(expected)
  })

  it('without refresh_token the old one stays good', async () => {
    const { simulator, refresh, grant } = await faultyWorld()
    simulator.inject({ where: 'token', omit: ['refresh_token', 'id_token'], times: 1 })
    const answer = await refresh(grant.refresh)
    expect(Object.keys(answer.json).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type'])
    expect((await refresh(grant.refresh)).status).toBe(200)
  })

  it('another account can come back', async () => {
    const { simulator, refresh, codex, grant } = await faultyWorld()
    simulator.inject({ where: 'token', switchAccountTo: 'unknown_login', times: 1 })
    const { access_token: access } = (await refresh(grant.refresh)).json
    expect(claimsOf(access)['https://api.openai.com/auth']).toMatchObject({ chatgpt_account_id: 'unknown_login' })
    expect((await codex(access, 'acc')).status).toBe(403)
  })

  it('the body can break off or be huge, and the token is spent all the same', async () => {
    const { simulator, refresh, grant } = await faultyWorld()
    simulator.inject({ where: 'token', hugeBodyBytes: 3_000_000, times: 1 })
    const huge = await refresh(grant.refresh)
    expect(huge.text.length).toBeGreaterThan(3_000_000)
    simulator.inject({ where: 'token', invalidJson: true, times: 1 })
    const broken = await refresh(huge.json.refresh_token)
    expect([broken.status, broken.json]).toEqual([200, undefined])
    expect((await refresh(huge.json.refresh_token)).json.error.code).toBe('refresh_token_reused')
  })

  it('the Date header can be ahead', async () => {
    const { simulator, refresh, grant, now } = await faultyWorld()
    simulator.inject({ where: 'token', dateSkewMs: 600_000 })
    expect(Date.parse((await refresh(grant.refresh)).headers.get('date') ?? '')).toBe(now + 600_000)
  })
})

describe('connections that break', () => {
  it('before the commit: the token can be sent again', async () => {
    const { simulator, refresh, grant } = await faultyWorld()
    simulator.inject({ where: 'token', resetBeforeCommit: true, times: 1 })
    await expect(refresh(grant.refresh)).rejects.toMatchObject({ cause: { code: 'ECONNRESET' } })
    expect(simulator.tokenRequests()).toMatchObject([{ outcome: 'reset', committed: false }])
    expect((await refresh(grant.refresh)).status).toBe(200)
  })

  it('after the commit: the token is spent and the client got no answer', async () => {
    const { simulator, refresh, grant } = await faultyWorld()
    simulator.inject({ where: 'token', resetAfterCommit: true, times: 1 })
    await expect(refresh(grant.refresh)).rejects.toMatchObject({ cause: { code: 'ECONNRESET' } })
    const [lost] = simulator.tokenRequests()
    expect(lost).toMatchObject({ outcome: 'rotated', committed: true })
    expect(lost).not.toHaveProperty('status')
    expect((await refresh(grant.refresh)).json.error.code).toBe('refresh_token_reused')
  })

  it('when a client gives up on a slow answer, the rotation has happened', async () => {
    const { simulator, grant, refresh } = await faultyWorld()
    simulator.inject({ where: 'token', latencyMs: 600_000, times: 1 })
    const leaving = new AbortController()
    const fields = { grant_type: 'refresh_token', refresh_token: grant.refresh }
    const asked = fetch(`${simulator.url}/openai/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams(fields),
      signal: leaving.signal,
    })
    await expect.poll(() => simulator.counts().tokenRequests.committed).toBe(1)
    leaving.abort()
    await expect(asked).rejects.toThrow()
    await expect.poll(() => simulator.tokenRequests()[0]?.outcome).toBe('rotated')
    expect((await refresh(grant.refresh)).json.error.code).toBe('refresh_token_reused')
  })

  it('a stream is cut after as many events as asked', async () => {
    const { simulator } = await faultyWorld()
    simulator.inject({ where: 'provider', cutStreamAfterChunks: 3, slowChunksMs: 5 })
    const response = await fetch(`${simulator.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
      body: JSON.stringify({ model: 'gpt-5.5', input: 'x', stream: true }),
    })
    let text = ''
    const reading = async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString()
    }
    await expect(reading()).rejects.toThrow()
    expect(text.match(/^event: .*/gm)).toEqual([
      'event: response.created',
      'event: response.in_progress',
      'event: response.output_item.added',
    ])
  })
})

describe('stop', () => {
  it('ends hanging, slow and half-streamed requests and leaves nothing open', async () => {
    const serversBefore = openServers()
    const { simulator, refresh, chat, codex, grant } = await faultyWorld()
    simulator.inject({ where: 'token', hang: true, times: 1 })
    simulator.inject({ where: 'token', hangAfterCommit: true, times: 1 })
    const slow = simulator.inject({ where: '/v1/*', latencyMs: 600_000 })
    const streamed = simulator.inject({ where: '/backend-api/*', slowChunksMs: 600_000 })
    const asked = [refresh(grant.refresh), refresh(grant.refresh), chat(KEY), codex(grant.access, 'acc', { stream: true })]
    const ended = Promise.allSettled(asked)
    await expect.poll(() => simulator.counts().tokenRequests).toMatchObject({ total: 2, committed: 1 })
    await expect.poll(() => [slow.hits(), streamed.hits()]).toEqual([1, 1])
    await simulator.stop()
    await simulator.stop()
    expect((await ended).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected', 'rejected'])
    // Every handler came to its end: none waits on a timer of ten minutes.
    await expect.poll(() => simulator.counts().tokenRequests.byOutcome).toEqual({ hang: 1, rotated: 1 })
    await expect
      .poll(() => simulator.counts().providerCalls.byPath)
      .toEqual({ '/v1/chat/completions': { none: 1 }, '/backend-api/codex/responses': { 200: 1 } })
    expect(openServers()).toBeLessThanOrEqual(serversBefore)
    await expect(fetch(simulator.url)).rejects.toThrow()
  })

  it('refuses a port that is taken', async () => {
    const { simulator } = await faultyWorld()
    await expect(world({ port: Number(new URL(simulator.url).port) })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })
})

/** Servers that this process listens with; tests that ran before in it may have left some. */
function openServers(): number {
  return process.getActiveResourcesInfo().filter(name => name === 'TCPServerWrap').length
}
