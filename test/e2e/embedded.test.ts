import { basename } from 'node:path'
import type { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CODE_FUNCTION,
  ATTR_CODE_STACK,
  ATTR_REASON,
  SPAN_ACQUIRE,
  SPAN_CALL,
} from '../../otel/semconv.ts'
import { createGatewatch } from '../../src/gatewatch/create-gatewatch.ts'
import { type CallOptions, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../src/server/server.ts'
import { atTheEnd, codexLogin, eventually, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE, providerOf } from '../support/gateway-world.ts'

const CHAT: CallOptions = { protocol: 'chat_completions', model: 'gpt-5.5', body: { model: 'gpt-5.5', messages: [] } }
const STREAMED: CallOptions = { ...CHAT, body: { model: 'gpt-5.5', messages: [], stream: true } }
const HERE = 'test/e2e/embedded.test.ts'

async function textOf(body: Readable): Promise<string> {
  return Buffer.concat(await body.toArray()).toString()
}

describe('a call made in code', () => {
  it('brings the answer as a stream, with who served it', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const answer = await w.watch.call(STREAMED)
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toContain('text/event-stream')
    expect(answer.served).toMatchObject({ provider: 'openai', profile: 'openai:default', billing: 'metered', attempts: 1, fallbacks: [] })
    expect(await textOf(answer.body)).toBe((await w.chat({ stream: true, messages: [] })).text)
  })

  it('knows the function that called, and those that waited for it', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    async function thinkAloud() {
      await undefined
      return await w.watch.call(STREAMED)
    }
    async function agentTurn() {
      const answer = await thinkAloud()
      return answer
    }
    const answer = await agentTurn()
    await textOf(answer.body)
    const { attributes } = await w.spanned(SPAN_CALL)
    expect(attributes).toMatchObject({
      [ATTR_CALLER]: `${HERE}#thinkAloud`,
      [ATTR_CALLER_KIND]: 'code',
      [ATTR_CODE_FUNCTION]: 'thinkAloud',
      'gen_ai.request.stream': true,
    })
    expect(attributes[ATTR_CODE_STACK]).toMatch(/^thinkAloud \(.*\nasync agentTurn \(/)
    expect((await w.labels('attemptDuration')).map(({ caller }) => caller)).toEqual([`${HERE}#thinkAloud`])
  })

  it('names its caller to the gate as well', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })] })
    async function wakeUp() {
      return await w.watch.call({ protocol: 'responses', model: 'gpt-5.5', body: { model: 'gpt-5.5', input: 'x', store: false } })
    }
    await textOf((await wakeUp()).body)
    expect((await w.spanned(SPAN_ACQUIRE)).attributes).toMatchObject({ [ATTR_CALLER]: `${HERE}#wakeUp`, [ATTR_REASON]: 'expired' })
  })

  it('is read back with the refresh that it led to, and counted', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })] })
    async function wakeUp() {
      return await w.watch.call({ protocol: 'responses', model: 'gpt-5.5', body: { model: 'gpt-5.5', input: 'x', store: false } })
    }
    const { body } = await wakeUp()
    await textOf(body)
    const [refresh, ...others] = await w.watch.events.refreshes({ via: 'gate', most: 10 })
    expect(others).toEqual([])
    expect(refresh).toMatchObject({ caller: `${HERE}#wakeUp`, profile: 'openai-codex:me', reason: 'expired', outcome: 'rotated' })
    expect(refresh?.title).toBe(basename(process.argv[1] ?? ''))
    expect(refresh?.stack).toContain('wakeUp (')
    expect(await w.watch.events.refreshes({ via: 'bypass' })).toEqual([])
    expect((await w.watch.events.counts()).refreshes).toMatchObject([{ caller: `${HERE}#wakeUp`, reason: 'expired', count: 1 }])
    const wrong = { since: 0, most: 'all' } as unknown as { most: number }
    await expect(w.watch.events.refreshes(wrong)).rejects.toMatchObject({
      code: 'GW_CONFIG',
      message: expect.stringMatching(
        /^events\.refreshes: since: is an unknown key; allowed: provider, .*; most: is a string, allowed: a number$/,
      ),
    })
  })

  it('is given up upstream when its body is destroyed', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', slowChunksMs: 60_000, times: 1 })
    const answer = await w.watch.call(STREAMED)
    answer.body.destroy()
    await eventually(() => expect(w.simulator.counts().providerCalls.total).toBe(1))
    expect(await w.spanned('chat gpt-5.5')).toMatchObject({ status: 'unset', attributes: { 'gatewatch.attempt.outcome': 'aborted' } })
  })

  it('is given up by its signal, before the answer and in the middle of it', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const hanging = w.simulator.inject({ where: 'provider', hang: true, times: 1 })
    const before = new AbortController()
    const waiting = w.watch.call({ ...CHAT, signal: before.signal })
    await eventually(() => expect(hanging.hits()).toBe(1))
    before.abort(new RangeError('enough'))
    await expect(waiting).rejects.toMatchObject({ code: 'GW_ABORTED', next: 'nothing', cause: new RangeError('enough') })

    w.simulator.inject({ where: 'provider', slowChunksMs: 60_000, times: 1 })
    const during = new AbortController()
    const { body } = await w.watch.call({ ...STREAMED, signal: during.signal })
    during.abort()
    await expect(textOf(body)).rejects.toMatchObject({ code: 'GW_ABORTED' })
    await eventually(() => expect(w.spans('chat gpt-5.5').map(({ status }) => status)).toEqual(['unset', 'unset']))
  })

  it('under a signal that has aborted is not made', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await expect(w.watch.call({ ...CHAT, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'GW_ABORTED' })
    expect(w.simulator.counts().providerCalls.total).toBe(0)
  })

  it('that the provider refuses comes back as status and body', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', name: 'bad_request_400' })
    const answer = await w.watch.call(CHAT)
    expect(answer.status).toBe(400)
    expect(JSON.parse(await textOf(answer.body))).toMatchObject({ error: { code: 'invalid_value' } })
    expect(answer.served.profile).toBe('openai:default')
  })

  it('that no profile can serve is an error that says why', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await expect(w.watch.call({ ...CHAT, provider: 'anthropic' })).rejects.toMatchObject({ code: 'GW_NO_PROFILE', next: 'add_profile' })
    w.simulator.inject({ where: 'provider', resetBeforeCommit: true })
    await expect(w.watch.call(CHAT)).rejects.toMatchObject({
      code: 'GW_ALL_PROFILES_FAILED',
      message: 'no profile could serve chat_completions of model gpt-5.5: openai:default (server_error)',
    })
  })

  it('that breaks in the middle breaks its body', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', cutStreamAfterChunks: 2 })
    const { body } = await w.watch.call(STREAMED)
    await expect(textOf(body)).rejects.toMatchObject({ code: 'GW_UPSTREAM' })
  })

  it('goes to the profile it names', async () => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, 'openai:second': OPENAI_PROFILE['openai:default'] } })
    const answer = await w.watch.call({ ...CHAT, profile: 'openai:second' })
    expect(answer.served.profile).toBe('openai:second')
    await textOf(answer.body)
  })

  it('is read at the pace of its reader', async () => {
    let sent = 0
    const chunk = Buffer.alloc(64 * 1024, 'x')
    const baseUrl = await providerOf((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      const more = () => {
        while (sent < 512) {
          sent += 1
          if (!response.write(chunk)) return void response.once('drain', more)
        }
        response.end()
      }
      more()
    })
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl } } })
    const { body } = await w.watch.call(CHAT)
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(sent).toBeLessThan(512)
    let bytes = 0
    for await (const part of body) bytes += (part as Buffer).length
    expect(bytes).toBe(512 * chunk.length)
  })

  it('sends bytes as they are, and headers without the caller’s credentials in any spelling', async () => {
    let seen: { headers?: unknown; body?: string } = {}
    const baseUrl = await providerOf(async (request, response) => {
      seen = { headers: request.headers, body: Buffer.concat(await request.toArray()).toString() }
      response.end('{}')
    })
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl } } })
    const body = Buffer.from('{ "model":"gpt-5.5", "stream" : true }')
    const headers = {
      Authorization: 'Bearer canary',
      'X-Api-Key': 'canary',
      'Content-Type': 'application/json; charset=utf-8',
      'OpenAI-Beta': 'x',
    }
    await textOf((await w.watch.call({ ...CHAT, body, headers })).body)
    expect(seen.body).toBe(body.toString())
    expect(seen.headers).toMatchObject({
      authorization: `Bearer ${OPENAI_KEY}`,
      'content-type': 'application/json; charset=utf-8',
      'openai-beta': 'x',
    })
    expect(JSON.stringify(seen)).not.toContain('canary')
    expect((await w.spanned(SPAN_CALL)).attributes['gen_ai.request.stream']).toBe(true)
  })

  it('can list models, which needs no body', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const answer = await w.watch.call({ protocol: 'models', model: '' })
    expect(JSON.parse(await textOf(answer.body))).toMatchObject({ object: 'list' })
  })
})

describe('Gatewatch without a store and without a server', () => {
  it('starts, says that there are no profiles, and stops', async () => {
    const watch = await startGatewatch({ environment: {} })
    expect(await watch.profiles()).toEqual([])
    expect((await watch.metrics()).body).toContain('target_info')
    await expect(watch.call(CHAT)).rejects.toMatchObject({ code: 'GW_NO_PROFILE' })
    await watch.close()
  })

  it('refuses options of another type, by their names', async () => {
    await expect(createGatewatch({ recordIn: 5, onError: 'log' } as never)).rejects.toMatchObject({
      code: 'GW_CONFIG',
      message: 'options: recordIn: is a number, allowed: the path of a folder; onError: is a string, allowed: a function',
    })
  })

  it('that could not start leaves the store to its owner', async () => {
    const { memoryStore } = await import('../../src/store/memory-store.ts')
    const store = memoryStore()
    await expect(startGatewatch({ store, order: ['missing'], environment: {} })).rejects.toMatchObject({ code: 'GW_CONFIG' })
    const watch = await startGatewatch({ store, environment: {} })
    atTheEnd(() => watch.close())
    expect(await watch.profiles()).toEqual([])
  })
})

describe('a gateway of another caller', () => {
  it('shows who refreshes on a port of its own: page, data and metrics', async () => {
    const watch = await startGatewatch({ listen: { port: 0 }, environment: {} })
    atTheEnd(() => watch.close())
    const refresh = watch.wrapRefresh(async (credential: { id: string }) => ({ id: credential.id, access: 'access-token-of-a-test' }), {
      provider: 'openai-codex',
      profile: credential => credential.id,
      reason: () => 'expired',
    })
    async function answerTurn() {
      return await refresh({ id: 'work' })
    }
    await answerTurn()
    const serving = await serveGatewatch(watch)
    atTheEnd(() => serving.stop())
    const read = async (path: string) => (await fetch(serving.url + path)).text()
    expect(await read('/ops')).toContain('<!doctype html>')
    expect(JSON.parse(await read('/ops/data/counts'))).toMatchObject({
      refreshes: [{ caller: `${HERE}#answerTurn`, reason: 'expired', via: 'gate', outcome: 'reused', count: 1 }],
    })
    expect(await read('/metrics')).toMatch(/gatewatch_oauth_refresh_duration_seconds_count\{[^}]*embedded\.test\.ts#answerTurn[^}]*\} 1/)
  })
})
