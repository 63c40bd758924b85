import type { IncomingMessage, ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import OpenAI from 'openai'
import { describe, expect, it } from 'vitest'
import { GENAI_OPERATION_NAME, GENAI_USAGE_INPUT_TOKENS, GENAI_USAGE_OUTPUT_TOKENS } from '../../otel/genai-semconv.ts'
import { ATTR_ATTEMPT_OUTCOME, ATTR_CALLER, ATTR_HTTP_STATUS, ATTR_PROFILE, ATTR_TIME_TO_FIRST_CHUNK } from '../../otel/semconv.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { atTheEnd, observed, providerOf } from '../support/gateway-world.ts'

const CHAT = '/v1/chat/completions'
const COMPLETION = {
  id: 'c-1',
  object: 'chat.completion',
  created: 1,
  model: 'm-1',
  choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
}

interface Sent {
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A provider that answers as `answer` says, known to a Gatewatch as `corp` by its base URL. */
async function world(answer: (response: ServerResponse, sent: Sent) => void = response => void json(response, COMPLETION)) {
  const sent: Sent[] = []
  const url = await providerOf(async (request, response) => {
    const one = { headers: request.headers, body: (await buffer(request)).toString() }
    sent.push(one)
    answer(response, one)
  })
  const watch = await startGatewatch({
    environment: {},
    providers: { corp: { baseUrl: `${url}/v1` } },
    onError: fault => faults.push(fault),
  })
  const faults: unknown[] = []
  atTheEnd(() => watch.close())
  const seen = observed(watch)
  const attempts = () =>
    seen
      .spans()
      .filter(({ attributes }) => GENAI_OPERATION_NAME in attributes && ATTR_ATTEMPT_OUTCOME in attributes)
      .map(({ name, attributes }) => ({
        name,
        outcome: attributes[ATTR_ATTEMPT_OUTCOME],
        status: attributes[ATTR_HTTP_STATUS],
        tokens: [attributes[GENAI_USAGE_INPUT_TOKENS], attributes[GENAI_USAGE_OUTPUT_TOKENS]],
      }))
  return { watch, url, sent, faults, attempts, ...seen }
}

function json(response: ServerResponse, body: object, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** A stream of events. */
function events(response: ServerResponse, all: readonly object[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const event of all) response.write(`data: ${JSON.stringify(event)}\n\n`)
  response.end('data: [DONE]\n\n')
}

async function drain({ body }: Response): Promise<void> {
  for await (const _piece of body ?? []);
}

const GOOD = { name: 'chat m-1', outcome: 'ok', status: 200, tokens: [7, 3] }
const posted = (body: RequestInit['body'] = JSON.stringify({ messages: ['x'.repeat(9_000)], model: 'm-1' })): RequestInit =>
  ({ method: 'POST', body, ...(body instanceof ReadableStream && { duplex: 'half' }) }) as RequestInit

describe('watch.fetch', () => {
  it('records provider, model, caller and tokens of a JSON answer, which is read as it was before', async () => {
    const w = await world()
    const watched = w.watch.fetch({
      profile: ({ headers, method, url }) => `${method === 'POST' && url.includes(CHAT) && headers.get('x-user')}`,
    })
    async function askTheModel() {
      return await watched(w.url + CHAT, { ...posted(), headers: { 'x-user': 'corp:me' } })
    }
    const response = await askTheModel()
    expect(response).toBeInstanceOf(Response)
    expect(w.attempts()).toEqual([])
    expect(await response.json()).toEqual(COMPLETION)
    expect(w.attempts()).toEqual([GOOD])
    const labels = {
      provider: 'corp',
      model: 'm-1',
      profile: 'corp:me',
      outcome: 'ok',
      caller: 'test/calls/watched-fetch.test.ts#askTheModel',
    }
    expect(await w.labels('attemptDuration')).toEqual([labels])
    const genai = {
      gen_ai_operation_name: 'chat',
      gen_ai_provider_name: 'corp',
      gen_ai_request_model: 'm-1',
    }
    expect(await w.labels('genaiDuration')).toEqual([genai])
    expect(await w.labels('genaiTokens')).toEqual(['input', 'output'].map(type => ({ ...genai, gen_ai_token_type: type })))
  })

  it.each<[string, (response: Response) => Promise<unknown>]>([
    ['text', response => response.text()],
    ['bytes', response => response.arrayBuffer()],
    ['pieces', response => drain(response)],
    ['a copy', response => response.clone().text()],
    ['the body after a copy was made', response => drain(response.clone() && response)],
  ])('reads tokens of an answer read as %s', async (_what, read) => {
    const w = await world()
    await read(await w.watch.fetch()(w.url + CHAT, posted()))
    expect(w.attempts()).toEqual([GOOD])
  })

  it('reads tokens and the first chunk of a stream of Anthropic as it passes', async () => {
    const w = await world(response =>
      events(response, [
        { type: 'message_start', message: { usage: { input_tokens: 5, cache_read_input_tokens: 2, output_tokens: 1 } } },
        { type: 'content_block_delta', delta: { text: '"usage": {"output_tokens": 99}' } },
        { type: 'message_delta', usage: { output_tokens: 3 } },
      ]),
    )
    await drain(await w.watch.fetch({ provider: 'anthropic' })(`${w.url}/other/messages`, posted()))
    expect(w.attempts()).toEqual([GOOD])
    expect(w.spans('chat m-1')[0]?.attributes[ATTR_TIME_TO_FIRST_CHUNK]).toBeGreaterThan(0)
  })

  it('holds nothing of an answer that comes in pieces', async () => {
    const { promise, resolve: go } = Promise.withResolvers<void>()
    const w = await world(response => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"first":1}\n\n')
      void promise.then(() => response.end('data: {"usage":{"input_tokens":7,"output_tokens":3}}\n\n'))
    })
    const reader = (await w.watch.fetch()(w.url + CHAT, posted())).body?.getReader()
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toContain('first')
    go()
    await reader?.read()
    expect((await reader?.read())?.done).toBe(true)
    expect(w.attempts()).toEqual([GOOD])
  })

  it.each<[string, (url: string) => Parameters<typeof fetch>]>([
    ['bytes', url => [url, posted(Buffer.from('{"model":"m-1"}'))]],
    ['a Request', url => [new Request(url, posted('{"model":"m-1"}'))]],
    ['a stream', url => [new URL(url), posted(new Blob(['{"model":"m-1"}']).stream())]],
  ])('reads the model of a body that is %s, and sends the same', async (what, request) => {
    const w = await world()
    await (await w.watch.fetch()(...request(w.url + CHAT))).json()
    expect(w.attempts()).toEqual([GOOD])
    expect(w.sent.map(({ body }) => body)).toEqual(['{"model":"m-1"}'])
    expect(w.sent[0]?.headers['content-length']).toBe(what === 'a stream' ? undefined : '15')
  })

  it('passes on unchanged what is no provider call, and what cannot be read', async () => {
    const w = await world()
    const elsewhere = await w.watch.fetch()(`${w.url}/elsewhere`, posted())
    expect(await elsewhere.json()).toEqual(COMPLETION)
    expect(Object.hasOwn(elsewhere, 'json')).toBe(false)
    await expect(w.watch.fetch({ provider: 'corp' })('no url')).rejects.toThrow('Failed to parse URL')
    const fail = () => {
      throw new TypeError('no such field')
    }
    await (await w.watch.fetch({ profile: fail, model: fail })(w.url + CHAT, posted())).json()
    expect(w.attempts()).toEqual([GOOD])
    expect(w.faults).toHaveLength(2)
  })

  it('records a list of models by its name, and no other request without a body as a call', async () => {
    const w = await world(response => json(response, { data: [] }))
    const watched = w.watch.fetch({ provider: 'corp' })
    for (const path of ['/v1/models', '/v1/files', '/v1/embeddings'])
      await (await watched(w.url + path, path.endsWith('embeddings') ? posted() : undefined)).json()
    expect((await w.labels('genaiDuration')).map(labels => labels.gen_ai_operation_name)).toEqual(['list_models'])
  })

  it('records a call that fails, one that is given up and one that is refused', async () => {
    const w = await world((response, { body }) => (body.includes('refuse') ? json(response, {}, 429) : undefined))
    const watched = w.watch.fetch()
    await (await watched(w.url + CHAT, posted('{"model":"refuse"}'))).text()
    await expect(watched(w.url + CHAT, { ...posted(), signal: AbortSignal.timeout(50) })).rejects.toThrow('timeout')
    const given = new AbortController()
    const left = watched(w.url + CHAT, { ...posted(), signal: given.signal })
    given.abort()
    await expect(left).rejects.toThrow('aborted')
    await expect(w.watch.fetch({ provider: 'corp' })(`http://127.0.0.1:1${CHAT}`, posted())).rejects.toThrow('fetch failed')
    // Each is recorded as its answer is handled, which may be after the next one was sent.
    expect(
      w
        .attempts()
        .map(({ outcome, status }) => [outcome, status])
        .sort(),
    ).toEqual([
      ['aborted', undefined],
      ['rate_limit', 429],
      ['server_error', undefined],
      ['timeout', undefined],
    ])
  })
})

// Seen: the label of every call of an SDK was a file in node_modules, and its retries were no attempts. Issue 3 of 6.
describe('watch.fetch in the OpenAI client', () => {
  const client = (w: Awaited<ReturnType<typeof world>>, fetch = w.watch.fetch()) =>
    new OpenAI({ apiKey: 'sk-x', baseURL: `${w.url}/v1`, fetch, maxRetries: 1 })
  const ask = { model: 'm-1', messages: [{ role: 'user' as const, content: 'hello' }] }
  const stream = { ...ask, stream: true as const, stream_options: { include_usage: true } }

  it('names the function of the application that called, and reads the stream', async () => {
    const w = await world(response =>
      events(response, [
        { choices: [{ index: 0, delta: { content: 'hi' } }] },
        { choices: [], usage: { prompt_tokens: 7, completion_tokens: 3 } },
      ]),
    )
    async function askTheModel() {
      return await client(w).chat.completions.create(stream)
    }
    const read: unknown[] = []
    for await (const chunk of await askTheModel()) read.push(chunk)
    expect(read).toHaveLength(2)
    expect(w.attempts()).toEqual([GOOD])
    expect(w.spans('chat m-1')[0]?.attributes[ATTR_CALLER]).toBe('test/calls/watched-fetch.test.ts#askTheModel')
  })

  it('names the place where the fetch was made, where the client has let go of its caller', async () => {
    const w = await world()
    function makeClient() {
      return client(w)
    }
    // A promise that is handed on without `await`.
    const promise = makeClient().chat.completions.create(ask)
    await new Promise(resolve => void promise.then(resolve))
    expect(w.spans('chat m-1')[0]?.attributes[ATTR_CALLER]).toMatch(/^test\/calls\/watched-fetch\.test\.ts#/)
  })

  it('records each retry as an attempt of the call that is wrapped', async () => {
    let asked = 0
    const w = await world(response => json(response, COMPLETION, asked++ === 0 ? 500 : 200))
    const openai = client(w)
    const send = w.watch.wrapCall((content: string) => openai.chat.completions.create({ ...ask, messages: [{ role: 'user', content }] }), {
      provider: 'corp',
      model: 'm-1',
      profile: 'corp:me',
    })
    async function askTheModel() {
      return await send('hello')
    }
    expect((await askTheModel()).usage?.total_tokens).toBe(10)
    expect(w.attempts()).toEqual([{ ...GOOD, outcome: 'server_error', status: 500, tokens: [undefined, undefined] }, GOOD])
    const [call] = w.spans('gatewatch.call')
    expect(call?.attributes).toMatchObject({ [ATTR_PROFILE]: 'corp:me', 'gatewatch.attempts': 2 })
    const attempts = w.spans('chat m-1')
    expect(attempts.map(({ parentSpanId, attributes }) => [parentSpanId, attributes[ATTR_CALLER]])).toEqual(
      attempts.map(() => [call?.spanId, 'test/calls/watched-fetch.test.ts#askTheModel']),
    )
    expect((await w.series('genaiDuration')).map(({ value }) => value)).toEqual([1])
    expect(new Set((await w.labels('attemptDuration')).map(({ outcome }) => outcome))).toEqual(new Set(['ok', 'server_error']))
  })
})

describe('a call with a refresh in between', () => {
  it('is two attempts: the one that was refused, and the one with the new token', async () => {
    const w = await world((response, { headers }) => json(response, COMPLETION, headers.authorization === 'Bearer new' ? 200 : 401))
    const watched = w.watch.fetch()
    const call = w.watch.beginCall({ provider: 'corp', model: 'm-1' })
    const withToken = (token: string) => watched(w.url + CHAT, { ...posted(), headers: { authorization: `Bearer ${token}` } })
    const response = await call.run(async () => {
      const first = await withToken('old')
      return first.status === 401 ? await withToken('new') : first
    })
    await response.json()
    call.end()
    expect(w.attempts().map(({ outcome }) => outcome)).toEqual(['auth', 'ok'])
    expect(w.spans('gatewatch.call')).toHaveLength(1)
  })
})
