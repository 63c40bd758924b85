import OpenAI from 'openai'
import { describe, expect, it } from 'vitest'
import { ATTR_CALLER, SPAN_CALL } from '../../otel/semconv.ts'
import { collected } from '../support/collected.ts'
import { codexLogin, type GatewayWorld, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE } from '../support/gateway-world.ts'

const MESSAGES = [
  { role: 'system' as const, content: 'Be brief.' },
  { role: 'user' as const, content: 'Grüße 🙂 "quoted" \\ and \n lines' },
]
const CHAT = { model: 'gpt-5.5', messages: MESSAGES }
const RESPONSES = { model: 'gpt-5.5', input: MESSAGES, instructions: 'Answer in one line.', store: false }

const GATEWAY_KEY = 'gateway-key-0123456789'

/** The real client, once in front of the gateway and once in front of the simulator. */
function clients(w: GatewayWorld, directPath = '/v1', directKey = OPENAI_KEY, headers: Record<string, string> = {}) {
  const options = { maxRetries: 0, organization: null, project: null }
  return {
    through: new OpenAI({ ...options, baseURL: `${w.url}/v1`, apiKey: GATEWAY_KEY }),
    direct: new OpenAI({ ...options, baseURL: w.simulator.url + directPath, apiKey: directKey, defaultHeaders: headers }),
  }
}

/** A gateway that asks its clients for a key, so that the client's own key is used as well. */
const keyed = (options: Parameters<typeof gatewayWorld>[0] = {}) =>
  gatewayWorld({ ...options, listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: GATEWAY_KEY } })

describe('the OpenAI client in front of the gateway', () => {
  it('gets the same chat completion as from the provider itself', async () => {
    const { through, direct } = clients(await keyed({ profiles: OPENAI_PROFILE }))
    const answer = await through.chat.completions.create(CHAT)
    expect(answer).toEqual(await direct.chat.completions.create(CHAT))
    expect(answer.choices[0]?.message.content).toContain('Simulated answer of gpt-5.5')
  })

  it('gets the same chunks of a streamed chat completion', async () => {
    const { through, direct } = clients(await keyed({ profiles: OPENAI_PROFILE }))
    const body = { ...CHAT, stream: true as const, stream_options: { include_usage: true } }
    const chunks = await collected(await through.chat.completions.create(body))
    expect(chunks).toEqual(await collected(await direct.chat.completions.create(body)))
    expect(chunks.length).toBeGreaterThan(5)
    expect(chunks.at(-1)?.usage?.total_tokens).toBeGreaterThan(0)
  })

  it('gets the same response', async () => {
    const { through, direct } = clients(await keyed({ profiles: OPENAI_PROFILE }))
    const answer = await through.responses.create(RESPONSES)
    expect(answer).toEqual(await direct.responses.create(RESPONSES))
    expect(answer.output_text).toContain('Simulated answer of gpt-5.5')
  })

  it('gets the same events of a streamed response', async () => {
    const { through, direct } = clients(await keyed({ profiles: OPENAI_PROFILE }))
    const events = await collected(await through.responses.create({ ...RESPONSES, stream: true }))
    expect(events).toEqual(await collected(await direct.responses.create({ ...RESPONSES, stream: true })))
    expect(events.at(-1)).toMatchObject({ type: 'response.completed', response: { status: 'completed' } })
  })

  it('gets the same list of models', async () => {
    const { through, direct } = clients(await keyed({ profiles: OPENAI_PROFILE }))
    expect(await collected(through.models.list())).toEqual(await collected(direct.models.list()))
  })

  it('is named in the spans of its calls', async () => {
    const w = await keyed({ profiles: OPENAI_PROFILE })
    await clients(w).through.chat.completions.create(CHAT)
    expect((await w.spanned(SPAN_CALL)).attributes[ATTR_CALLER]).toMatch(/^client:OpenAI\/JS/)
  })

  it.each([
    ['bad_request_400', 400, 'invalid_value'],
    ['throttled_429', 429, 'rate_limit_exceeded'],
    ['server_error_500', 500, 'server_error'],
  ] as const)('fails with the same error on %s', async (name, status, code) => {
    const w = await keyed({ profiles: OPENAI_PROFILE })
    const { through, direct } = clients(w)
    w.simulator.inject({ where: 'provider', name })
    const [ours, theirs] = await Promise.all(
      [through, direct].map(client => client.chat.completions.create(CHAT).catch((error: unknown) => error)),
    )
    if (!(ours instanceof OpenAI.APIError) || !(theirs instanceof OpenAI.APIError)) throw new TypeError('a call was answered')
    expect(ours).toMatchObject({ status, code })
    expect(ours.error).toEqual(theirs.error)
    expect(ours.constructor).toBe(theirs.constructor)
    expect(ours.message).toBe(theirs.message)
  })

  it('fails with an authentication error of its own when its key is wrong', async () => {
    const w = await keyed({ profiles: OPENAI_PROFILE })
    const client = new OpenAI({ maxRetries: 0, baseURL: `${w.url}/v1`, apiKey: 'wrong' })
    const error = await client.responses.create(RESPONSES).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(OpenAI.AuthenticationError)
    expect(error).toMatchObject({ status: 401, code: 'GW_UNAUTHORIZED' })
  })

  it('sees a stream that breaks as broken', async () => {
    const w = await keyed({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', cutStreamAfterChunks: 4 })
    const seen: unknown[] = []
    const reading = (async () => {
      for await (const event of await clients(w).through.responses.create({ ...RESPONSES, stream: true })) seen.push(event)
    })()
    await expect(reading).rejects.toThrow()
    expect(seen).toHaveLength(4)
  })

  it('ends the provider’s work when it gives a stream up', async () => {
    const w = await keyed({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', slowChunksMs: 200 })
    const stream = await clients(w).through.responses.create({ ...RESPONSES, stream: true })
    for await (const event of stream) if (event.type === 'response.output_text.delta') break
    expect((await w.spanned('chat gpt-5.5')).attributes['gatewatch.attempt.outcome']).toBe('aborted')
  })
})

describe('the OpenAI client on a subscription', () => {
  /** What the ChatGPT backend answers a client that signs in there itself. */
  function besideLogin(w: GatewayWorld) {
    const { access, account } = w.simulator.grantFor({ provider: 'openai-codex', account: 'beside' })
    return clients(w, '/backend-api/codex', access, { 'chatgpt-account-id': account })
  }

  it('gets the answers of the provider, though the login had expired at first', async () => {
    const w = await keyed({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -60_000 })] })
    const { through, direct } = besideLogin(w)
    expect(await through.responses.create(RESPONSES)).toEqual(await direct.responses.create(RESPONSES))
    const events = await collected(await through.responses.create({ ...RESPONSES, stream: true }))
    expect(events).toEqual(await collected(await direct.responses.create({ ...RESPONSES, stream: true })))
    expect(w.simulator.counts().tokenRequests).toMatchObject({ total: 1, byOutcome: { rotated: 1 } })
  })

  it('gets them though the provider rejects the token in between', async () => {
    const w = await keyed({ stored: simulator => [codexLogin(simulator, 'me')] })
    const { through, direct } = besideLogin(w)
    const expected = await collected(await direct.responses.create({ ...RESPONSES, stream: true }))
    expect(await collected(await through.responses.create({ ...RESPONSES, stream: true }))).toEqual(expected)
    w.simulator.expireAccess('me')
    expect(await collected(await through.responses.create({ ...RESPONSES, stream: true }))).toEqual(expected)
    expect(w.simulator.counts().tokenRequests.total).toBe(1)
  })

  it('gets them through a fallback, and is notified of it', async () => {
    const w = await keyed({ stored: simulator => [codexLogin(simulator, 'me')], profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: '/backend-api/*', name: 'usage_limit_429' })
    const { through, direct } = clients(w)
    const { data, response } = await through.responses.create(RESPONSES).withResponse()
    expect(data).toEqual(await direct.responses.create(RESPONSES))
    expect(response.headers.get('x-gatewatch-fallback')).toBe('openai-codex:me -> openai:default; reason=rate_limit')
    expect(response.headers.get('x-gatewatch-billing-changed')).toBe('subscription -> metered')
    const events = await collected(await through.responses.create({ ...RESPONSES, stream: true }))
    expect(events).toEqual(await collected(await direct.responses.create({ ...RESPONSES, stream: true })))
  })
})
