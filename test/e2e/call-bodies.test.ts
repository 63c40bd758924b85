import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { CallOptions } from '../../src/gatewatch/gatewatch.ts'
import { codexLogin, eventually, gatewayWorld, OPENAI_PROFILE, providerOf } from '../support/gateway-world.ts'

// Seen: call({ body }) sent a Uint8Array as {"0":123,...} and a JSON string as a JSON string within a JSON string, and
// acquisition({ deadlineMs: 0 }) waited a minute. Why: everything but a Buffer went through JSON.stringify; a truth test took 0
// for "not given". Fix: bytes and strings as they are, everything else refused or JSON. Issue "1 of 6", point A11.

const TEXT = '{ "model":"gpt-5.5", "stream": true, "messages": [{"role":"user","content":"grüß dich"}] }'
const CHAT = { protocol: 'chat_completions', model: 'gpt-5.5' } as const

/** A gateway before a provider that keeps the bodies it gets. */
async function world() {
  const bodies: string[] = []
  const baseUrl = await providerOf(async (request, response) => {
    bodies.push(Buffer.concat(await request.toArray()).toString())
    response.end('{}')
  })
  const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl } } })
  const send = async (body: unknown) => {
    const answer = await w.watch.call({ ...CHAT, body } as CallOptions)
    await answer.body.toArray()
  }
  return { ...w, bodies, send }
}

describe('the body of a call made in code', () => {
  const bytes = new TextEncoder().encode(TEXT)
  it.each<[string, unknown, string]>([
    ['a string', TEXT, TEXT],
    ['a Buffer', Buffer.from(TEXT), TEXT],
    ['a Uint8Array', bytes, TEXT],
    ['a part of a larger Uint8Array', new Uint8Array([1, 2, ...bytes, 3]).subarray(2, -1), TEXT],
    ['an ArrayBuffer', bytes.slice().buffer, TEXT],
    ['a DataView', new DataView(bytes.slice().buffer), TEXT],
    ['an object', { model: 'gpt-5.5', stream: true }, '{"model":"gpt-5.5","stream":true}'],
    ['an object that says itself what it is as JSON', { toJSON: () => ({ stream: true }) }, '{"stream":true}'],
  ])('may be %s', async (_what, body, sent) => {
    const w = await world()
    await w.send(body)
    expect(w.bodies).toEqual([sent])
    expect((await w.spanned('gatewatch.call')).attributes['gen_ai.request.stream']).toBe(true)
  })

  const circle: { self?: unknown } = {}
  circle.self = circle
  it.each<[string, unknown]>([
    ['null', null],
    ['a number', 0],
    ['a boolean', false],
    ['a function', () => TEXT],
    ['a Map', new Map([['model', 'gpt-5.5']])],
    ['a form', new URLSearchParams('model=gpt-5.5')],
    ['a stream', Readable.from([TEXT])],
    ['a web stream', new Blob([TEXT]).stream()],
    ['a Blob', new Blob([TEXT])],
    ['a promise', Promise.resolve({})],
    ['a circle', circle],
    ['an object with a BigInt', { n: 1n }],
  ])('is refused when it is %s', async (_what, body) => {
    const w = await world()
    await expect(w.send(body)).rejects.toMatchObject({
      code: 'GW_BAD_REQUEST',
      next: 'fix_request',
      message: expect.stringMatching(/^call: body .*, allowed: an object, JSON as a string, a Buffer, Uint8Array or ArrayBuffer$/),
    })
    expect(w.bodies).toEqual([])
  })
})

describe('an acquisition with a deadline', () => {
  const EXPIRED = { firstAccessLifeMs: -1_000 }
  const acquisitionOf = (timeoutMs: number) => ({ profile: 'openai-codex:me', reason: 'expired' as const, timeoutMs })

  it('of 0 does not wait for the refresh, which goes on', async () => {
    const answer = Promise.withResolvers<void>()
    const w = await gatewayWorld({
      stored: simulator => [codexLogin(simulator, 'me', EXPIRED)],
      simulated: { onTokenRequest: () => answer.promise },
    })
    await expect(w.watch.acquireToken(acquisitionOf(0))).rejects.toMatchObject({ code: 'GW_ACQUIRE_TIMEOUT' })
    answer.resolve()
    await eventually(async () => expect(await w.watch.acquireToken(acquisitionOf(0))).toMatchObject({ decision: 'reuse' }))
    expect(w.simulator.counts().tokenRequests.total).toBe(1)
  })

  it.each([-1, Number.NaN, '60' as never])('of %j is refused', async deadlineMs => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', EXPIRED)] })
    await expect(w.watch.acquireToken(acquisitionOf(deadlineMs))).rejects.toThrow(RangeError)
    expect(w.simulator.counts().tokenRequests.total).toBe(0)
  })
})

describe('a token URL that is none', () => {
  it.each(['wrapRefresh', 'wrapOperation'] as const)('is refused by %s', async wrapper => {
    const { watch } = await gatewayWorld()
    const options = { provider: 'acme', profile: () => 'acme:me', tokenUrl: 'auth.test/token' }
    const run = async () => 'x'
    const wrap = () => (wrapper === 'wrapRefresh' ? watch.wrapRefresh(run, options) : watch.wrapOperation('login', run, options))
    expect(wrap).toThrow(`${wrapper}: tokenUrl is a string, allowed: an http or https URL`)
  })
})
