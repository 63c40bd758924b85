import http from 'node:http'
import { context, SpanStatusCode } from '@opentelemetry/api'
import { Pool, request } from 'undici'
import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CODE_FILE,
  ATTR_CODE_FUNCTION,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_PERMANENT,
  ATTR_POLICY,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REASON,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REPLAY,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  ATTR_SERVER_ADDRESS,
  ATTR_STACK_ID,
  ATTR_URL_PATH,
  ATTR_VIA,
  EVENT_BYPASS,
  EVENT_REPLAY,
  SPAN_EXCHANGE,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { takeFrames } from '../../src/callers/stack-frames.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { carryPermit, Permit } from '../../src/providers/permit.ts'
import { profileName } from '../../src/telemetry/profile-name.ts'
import { contextOf } from '../../src/telemetry/telemetry.ts'
import { inEvent, openEvent } from '../support/open-events.ts'
import { bypassWorld, DEAD_URL, onClose, startServer, until } from './world.ts'

const FORM = 'grant_type=refresh_token&refresh_token=rt_secret_1&client_id=app_acme'
const CALLER = 'test/watch/bypass-watch.test.ts#refreshBehindTheGate'

/** The line of this file on which the request of `refreshBehindTheGate` stands. */
let line = 0

/** Functions of an application that no setting names. */
async function refreshBehindTheGate(url: string, body: string = FORM): Promise<number> {
  line = lineHere() + 1
  const answer = await fetch(url, { method: 'POST', body })
  await answer.text()
  return answer.status
}

async function world(...given: Parameters<typeof startServer>) {
  const server = await startServer(...given)
  return { ...server, ...(await bypassWorld(server)) }
}

// Seen: a list of one, or an object with more behind it, was no token answer: the rotation was not known, and the next refresh
// with the new token had no forerunner. Fix: one reader for all token answers. Issue "1 of 6", point C3.
describe('the tokens of an answer', () => {
  const TOKENS = '{"access_token":"at_granted_1","refresh_token":"rt_granted_1","expires_in":3600}'
  it.each([
    ['a list of one', `[${TOKENS}]`, true],
    ['padded', `${TOKENS} \n\0\0\n`, true],
    ['followed by something else', `${TOKENS}\nproxy: connection closed\n`, true],
    ['followed by other tokens', `${TOKENS}${TOKENS.replaceAll('_1', '_2')}`, false],
    ['a list of two', `[${TOKENS},${TOKENS.replaceAll('_1', '_2')}]`, false],
  ])('that is %s', async (_what, body, isRead) => {
    const w = await world(response => response.writeHead(200, { 'content-type': 'application/json' }).end(body))
    await refreshBehindTheGate(w.tokenUrl)
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]?.attributes).toMatchObject(
      isRead ? { [ATTR_OUTCOME]: 'rotated' } : { [ATTR_OUTCOME]: 'unreadable', [ATTR_ERROR_TYPE]: 'answer_not_json' },
    )
    expect(w.faults).toEqual([])
  })
})

describe('a token request without a permit', () => {
  it('is a span with the function, file, line and stack of the code that made it', async () => {
    const w = await world()
    const inbound = await inEvent(w.telemetry, 'call', async event => {
      await refreshBehindTheGate(w.tokenUrl)
      return event.span
    })
    await until(() => w.spans().length === 2)
    const span = w.spans().find(({ name }) => name === SPAN_REFRESH)
    expect(span?.attributes).toEqual({
      [ATTR_PROVIDER]: 'acme',
      [ATTR_VIA]: 'bypass',
      [ATTR_POLICY]: 'observe',
      [ATTR_REASON]: 'unknown',
      [ATTR_OUTCOME]: 'renewed',
      [ATTR_HTTP_STATUS]: 200,
      [ATTR_SERVER_ADDRESS]: '127.0.0.1',
      [ATTR_URL_PATH]: '/token',
      [ATTR_REQUEST_ENCODING]: 'form',
      [ATTR_REQUEST_FIELDS]: 'client_id=opaque:8 grant_type=refresh_token refresh_token=opaque:11',
      [ATTR_REFRESH_FINGERPRINT_BEFORE]: fingerprint('rt_secret_1'),
      [ATTR_CALLER]: CALLER,
      [ATTR_CALLER_KIND]: 'code',
      [ATTR_CODE_FUNCTION]: 'refreshBehindTheGate',
      [ATTR_CODE_FILE]: 'test/watch/bypass-watch.test.ts',
      [ATTR_CODE_LINE]: line,
      'code.column.number': expect.any(Number),
      [ATTR_STACK_ID]: expect.stringMatching(/^[0-9a-f]{12}$/),
      [ATTR_CODE_STACK]: expect.stringMatching(
        new RegExp(`^refreshBehindTheGate \\(test/watch/bypass-watch\\.test\\.ts:${line}:\\d+\\)\n`),
      ),
    })
    expect(span?.events.map(({ name }) => name)).toEqual([EVENT_BYPASS])
    expect(span?.status.code).toBe(SpanStatusCode.UNSET)
    expect(span?.spanContext().traceId).toBe(inbound.spanContext().traceId)
    expect(span?.parentSpanContext?.spanId).toBe(inbound.spanContext().spanId)
    expect([w.dropped, w.faults]).toEqual([[], []])
  })

  it('is counted by caller, and its duration by how it ended', async () => {
    const w = await world(
      (response, { body }) =>
        void (body.includes('bad') ? response.writeHead(400).end('{"error":"invalid_grant"}') : response.writeHead(200).end('{}')),
    )
    await refreshBehindTheGate(w.tokenUrl)
    await refreshBehindTheGate(w.tokenUrl)
    await refreshBehindTheGate(w.tokenUrl, 'grant_type=refresh_token&refresh_token=bad')
    await until(() => w.spans().length === 3)
    expect(await w.points('bypasses')).toEqual([{ provider: 'acme', caller: CALLER, policy: 'observe', value: 3 }])
    const labels = { provider: 'acme', profile: 'unknown', reason: 'unknown', via: 'bypass', caller: CALLER }
    expect(await w.points('refreshDuration')).toEqual([
      { ...labels, outcome: 'unreadable', [ATTR_ERROR_TYPE]: 'access_token_missing', value: 2 },
      { ...labels, outcome: 'invalidated', [ATTR_ERROR_TYPE]: 'invalidated', value: 1 },
    ])
    expect(await w.points('replays')).toEqual([])
  })

  // Seen: GitHub's refusal of a dead token, 200 with {error}, counted as a good refresh. Issue 1 of 6, C3.
  it.each([
    ['as JSON', '{"error":"bad_refresh_token"}'],
    ['as a form', 'error=bad_refresh_token&error_description=expired'],
  ])('knows a refusal that comes with status 200 (%s)', async (_how, body) => {
    const w = await world(response => void response.writeHead(200).end(body))
    await refreshBehindTheGate(w.tokenUrl)
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]?.attributes).toMatchObject({
      [ATTR_HTTP_STATUS]: 200,
      [ATTR_OUTCOME]: 'invalidated',
      [ATTR_PROVIDER_ERROR_CODE]: 'bad_refresh_token',
    })
  })

  it.each([
    ['fetch', (url: string) => refreshBehindTheGate(url)],
    ['undici', async (url: string) => (await request(url, { method: 'POST', body: FORM })).body.text()],
    [
      'node:http',
      (url: string) =>
        new Promise(resolve => void http.request(url, { method: 'POST' }, answer => answer.resume().on('end', resolve)).end(FORM)),
    ],
  ])('says what the provider said, by its own code, through %s', async (_name, client) => {
    const w = await world(response => {
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end('{"error":"invalid_grant","error_description":"the token rt_secret_1 has been used"}')
    })
    await client(w.tokenUrl)
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]?.attributes).toMatchObject({
      [ATTR_HTTP_STATUS]: 401,
      [ATTR_OUTCOME]: 'invalidated',
      [ATTR_PERMANENT]: true,
      [ATTR_PROVIDER_ERROR_CODE]: 'invalid_grant',
      [ATTR_ERROR_TYPE]: 'invalidated',
    })
    expect(w.spans()[0]?.status).toEqual({ code: SpanStatusCode.ERROR })
    expect(JSON.stringify(w.spans().map(({ attributes, events, name }) => ({ attributes, events, name })))).not.toContain('rt_secret')
  })

  it('that gets no answer ends with the system’s word for it', async () => {
    const w = await world()
    w.server.removeAllListeners('request')
    w.server.on('request', incoming => incoming.socket.resetAndDestroy())
    await expect(refreshBehindTheGate(w.tokenUrl)).rejects.toThrow()
    w.watch.add(DEAD_URL, 'acme')
    await expect(refreshBehindTheGate(DEAD_URL)).rejects.toThrow()
    await until(() => w.spans().length === 2)
    expect(w.spans().map(({ attributes }) => [attributes[ATTR_OUTCOME], attributes[ATTR_HTTP_STATUS]])).toEqual([
      ['unavailable', undefined],
      ['unavailable', undefined],
    ])
    expect(w.spans()[1]?.attributes[ATTR_ERROR_TYPE]).toBe('ECONNREFUSED')
  })

  it('that the application gave up says so', async () => {
    const w = await world()
    w.server.removeAllListeners('request')
    await expect(fetch(w.tokenUrl, { method: 'POST', body: FORM, signal: AbortSignal.timeout(20) })).rejects.toThrow()
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]?.attributes).toMatchObject({
      [ATTR_OUTCOME]: 'timeout',
      [ATTR_ERROR_TYPE]: expect.stringMatching(/^(Timeout|Abort)Error$/),
    })
  })

  it('shows the broken request of openclaw#82069', async () => {
    const w = await world()
    await refreshBehindTheGate(w.tokenUrl, 'grant_type=refresh_token&refresh_token=undefined&client_id=app')
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]?.attributes[ATTR_REQUEST_FIELDS]).toBe(
      'client_id=opaque:3 grant_type=refresh_token refresh_token=literal:undefined',
    )
  })

  // Issue 1, point A1: a refresh gate judges refreshes alone.
  it('for another grant is an exchange, and no bypass', async () => {
    const w = await world()
    await refreshBehindTheGate(w.tokenUrl, 'grant_type=authorization_code&code=secret-code&code_verifier=secret-verifier')
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]).toMatchObject({ name: SPAN_EXCHANGE, attributes: { [ATTR_VIA]: 'undeclared', [ATTR_HTTP_STATUS]: 200 } })
    expect(w.spans()[0]?.events).toEqual([])
    expect(await w.points('bypasses')).toEqual([])
    expect(await w.points('refreshDuration')).toEqual([])
  })

  it('is seen at a token URL that only the application knows', async () => {
    const w = await world(response => void response.writeHead(400).end('{"error":"invalid_grant"}'))
    await refreshBehindTheGate(`${w.url}/elsewhere`)
    expect(w.spans()).toEqual([])
    w.watch.add(`${w.url}/elsewhere?tenant=1`, 'home-grown')
    await refreshBehindTheGate(`${w.url}/elsewhere?tenant=2`)
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]?.attributes).toMatchObject({ [ATTR_PROVIDER]: 'home-grown', [ATTR_OUTCOME]: 'invalidated' })
    expect(w.faults).toEqual([])
  })

  it('through a proxy is seen by the URL it asks the proxy for', async () => {
    const w = await world()
    w.watch.add('http://token.example/oauth', 'acme')
    const { hostname, port } = new URL(w.url)
    await new Promise(resolve => {
      const options = { hostname, port, method: 'POST', path: 'http://token.example/oauth', headers: { host: 'token.example' } }
      http.request(options, answer => answer.resume().on('end', resolve)).end(FORM)
    })
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]?.attributes).toMatchObject({ [ATTR_SERVER_ADDRESS]: 'token.example', [ATTR_URL_PATH]: '/oauth' })
  })
})

describe('a replay', () => {
  it('is a token that had been rotated away, counted with profile and caller', async () => {
    const server = await startServer()
    const [rotatedAway, current] = ['rt_secret_1', 'rt_secret_2'].map(fingerprint)
    const profileId = 'acme:me@example.com'
    const w = await bypassWorld(server, {
      lineageOf: refresh =>
        refresh === rotatedAway || refresh === current ? { profileId, rotatedAway: refresh === rotatedAway } : undefined,
    })
    for (const token of ['rt_secret_1', 'rt_secret_2', 'rt_secret_1', 'rt_nobodys'])
      await refreshBehindTheGate(w.tokenUrl, `grant_type=refresh_token&refresh_token=${token}`)
    await until(() => w.spans().length === 4)
    const profile = profileName(profileId)
    expect(w.spans().map(({ attributes }) => [attributes[ATTR_PROFILE], attributes[ATTR_REPLAY]])).toEqual([
      [profile, true],
      [profile, undefined],
      [profile, true],
      [undefined, undefined],
    ])
    expect(w.spans()[0]?.events.map(({ name }) => name)).toEqual([EVENT_BYPASS, EVENT_REPLAY])
    expect(await w.points('replays')).toEqual([{ provider: 'acme', profile, caller: CALLER, value: 2 }])
    expect(await w.points('refreshDuration')).toMatchObject([
      { profile, outcome: 'renewed', value: 3 },
      { profile: 'unknown', outcome: 'renewed', value: 1 },
    ])
  })

  it('is one by the word of the provider too, where we do not know the token', async () => {
    const answer = '{"error":"invalid_grant","error_description":"Refresh token has already been used"}'
    const w = await world(response => void response.writeHead(400, { 'content-type': 'application/json' }).end(answer))
    await refreshBehindTheGate(w.tokenUrl, 'grant_type=refresh_token&refresh_token=rt_nobodys')
    await until(() => w.spans().length === 1)
    expect(w.spans()[0]?.attributes[ATTR_REPLAY]).toBe(true)
    expect(await w.points('replays')).toEqual([{ provider: 'acme', profile: 'unknown', caller: CALLER, value: 1 }])
  })
})

describe('a permit', () => {
  const permitFor = (url: string, uses = 1) => new Permit({ url, lifetimeMs: 60_000, uses })

  it('lets its token request through unrecorded, and hears how it ended', async () => {
    const w = await world(response => void response.writeHead(429).end())
    const permit = permitFor(w.tokenUrl)
    await carryPermit(permit, () => refreshBehindTheGate(w.tokenUrl))
    await until(() => permit.answered !== undefined)
    expect(permit.answered).toBe(429)
    expect(w.spans()).toEqual([])
    expect(await w.points('bypasses')).toEqual([])
  })

  it('is shown once: the next request under it is a bypass', async () => {
    const w = await world()
    await carryPermit(permitFor(w.tokenUrl), async () => {
      await refreshBehindTheGate(w.tokenUrl)
      await refreshBehindTheGate(w.tokenUrl)
    })
    await until(() => w.spans().length === 1)
    expect(await w.points('bypasses')).toMatchObject([{ value: 1 }])
  })

  it('is one request, however many watches see it', async () => {
    const server = await startServer()
    const [first, second] = [await bypassWorld(server), await bypassWorld(server)]
    await carryPermit(permitFor(first.tokenUrl), () => refreshBehindTheGate(first.tokenUrl))
    await refreshBehindTheGate(first.tokenUrl)
    await until(() => first.spans().length + second.spans().length >= 2)
    expect([await first.points('bypasses'), await second.points('bypasses')]).toMatchObject([[{ value: 1 }], [{ value: 1 }]])
  })

  it('for another URL, or one that has been closed or is too old, is none', async () => {
    const w = await world()
    const closed = permitFor(w.tokenUrl)
    closed.close()
    const old = new Permit({ url: w.tokenUrl, lifetimeMs: 0 })
    for (const permit of [permitFor(`${w.url}/other`), closed, old]) await carryPermit(permit, () => refreshBehindTheGate(w.tokenUrl))
    await until(() => w.spans().length === 3)
    expect(await w.points('bypasses')).toMatchObject([{ value: 3 }])
  })

  it('is not taken by a stranger who waits for the same connection', async () => {
    const w = await world()
    const pool = new Pool(w.url, { connections: 1 })
    onClose(() => pool.close())
    const post = async (body: string) => (await pool.request({ path: '/token', method: 'POST', body })).body.text()
    const requests = Array.from({ length: 6 }, (_, index) => {
      const body = `grant_type=refresh_token&refresh_token=rt_${index}`
      return index % 2 === 0 ? post(body) : carryPermit(permitFor(w.tokenUrl), () => post(body))
    })
    await Promise.all(requests)
    await until(() => w.spans().length === 3)
    const strangers = ['rt_0', 'rt_2', 'rt_4'].map(fingerprint)
    expect(w.spans().map(({ attributes }) => attributes[ATTR_REFRESH_FINGERPRINT_BEFORE])).toEqual(strangers)
    expect(w.received).toHaveLength(6)
  })
})

describe('everything else', () => {
  it('is not recorded: provider calls and pages at the same origin, other methods, other origins', async () => {
    const w = await world()
    const other = await startServer()
    await refreshBehindTheGate(`${w.url}/v1/chat/completions`, '{"model":"m","messages":[]}')
    await refreshBehindTheGate(`${w.url}/token/revoke`)
    await refreshBehindTheGate(`${w.url}/tokens`)
    await refreshBehindTheGate(`${other.url}/token`)
    await (await fetch(w.tokenUrl)).text()
    await (await fetch(w.tokenUrl, { method: 'PUT', body: FORM })).text()
    expect(w.received.length + other.received.length).toBe(6)
    expect(w.spans()).toEqual([])
    expect([...(await w.points('bypasses')), ...(await w.points('refreshDuration'))]).toEqual([])
  })

  it('goes on when the watch has stopped', async () => {
    const w = await world()
    w.watch.stop()
    expect(await refreshBehindTheGate(w.tokenUrl)).toBe(200)
    expect(w.spans()).toEqual([])
  })

  it('goes on when the watch has a fault', async () => {
    const server = await startServer()
    const w = await bypassWorld(server, {
      lineageOf: () => {
        throw new TypeError('the watch stumbled')
      },
    })
    const inbound = openEvent(w.telemetry, 'inbound', { httpMethod: 'GET' })
    const inContext = context.with(contextOf(inbound.span), () => refreshBehindTheGate(w.tokenUrl))
    expect(await inContext).toBe(200)
    expect(server.received.map(({ body }) => body.toString())).toEqual([FORM])
    await until(() => w.spans().length === 1)
    expect(w.faults).toEqual([new TypeError('the watch stumbled')])
    expect(await w.points('bypasses')).toMatchObject([{ value: 1 }])
  })
})

/** The line this is called on. */
function lineHere(): number {
  return takeFrames(lineHere, 1)[0]?.line ?? 0
}
