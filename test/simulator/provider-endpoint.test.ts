import OpenAI from 'openai'
import { describe, expect, it } from 'vitest'
import { world } from './world.ts'

const KEY = 'sk-test-key'

async function openAiWorld() {
  const w = await world()
  w.simulator.addApiKey(KEY, { provider: 'openai' })
  return { ...w, client: new OpenAI({ apiKey: KEY, baseURL: `${w.simulator.url}/v1`, maxRetries: 0 }) }
}

describe('the openai client', () => {
  const messages = [{ role: 'user' as const, content: 'How are you?' }]

  it('reads a chat completion and gets the same text from the stream', async () => {
    const { client } = await openAiWorld()
    const whole = await client.chat.completions.create({ model: 'gpt-5.5', messages })
    expect(whole.choices[0]?.message.content).toMatch(/^Simulated answer of gpt-5\.5: read \d+ characters, digest [0-9a-f]{12}\.$/)
    let text = ''
    let last: unknown
    const stream = await client.chat.completions.create({
      model: 'gpt-5.5',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    })
    for await (const chunk of stream) {
      expect(chunk.id).toBe(whole.id)
      text += chunk.choices[0]?.delta.content ?? ''
      last = chunk.usage
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    expect(last).toEqual(whole.usage)
  })

  it('accumulates a chat stream with its own helper', async () => {
    const { client } = await openAiWorld()
    const final = await client.chat.completions.stream({ model: 'gpt-5.5', messages }).finalChatCompletion()
    expect(final.choices[0]).toMatchObject({ finish_reason: 'stop', message: { role: 'assistant' } })
  })

  it('sends no usage chunk unless asked', async () => {
    const { chat } = await openAiWorld()
    const { text } = await chat(KEY, { stream: true })
    expect(text).not.toContain('usage')
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
  })

  it('reads a response and gets the same one from the stream', async () => {
    const { client } = await openAiWorld()
    const whole = await client.responses.create({ model: 'gpt-5.5', input: 'Hello', store: false })
    expect(whole.output_text).toContain('read 5 characters')
    const stream = client.responses.stream({ model: 'gpt-5.5', input: 'Hello', store: false })
    const types: string[] = []
    const numbers: number[] = []
    stream.on('event', event => {
      types.push(event.type)
      if ('sequence_number' in event) numbers.push(event.sequence_number)
    })
    const final = await stream.finalResponse()
    expect({ id: final.id, text: final.output_text, usage: final.usage }).toEqual({
      id: whole.id,
      text: whole.output_text,
      usage: whole.usage,
    })
    expect([...new Set(types)]).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ])
    expect(numbers).toEqual(numbers.map((_, index) => index))
  })

  it('lists models and understands every refusal', async () => {
    const { client, simulator } = await openAiWorld()
    expect((await client.models.list()).data.map(({ id }) => id)).toContain('gpt-5.5')
    const unknown_login = new OpenAI({ apiKey: 'sk-wrong', baseURL: `${simulator.url}/v1`, maxRetries: 0 })
    await expect(unknown_login.models.list()).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' })
    simulator.inject({ where: '/v1/responses', name: 'throttled_429', times: 1 })
    await expect(client.responses.create({ model: 'gpt-5.5', input: 'x' })).rejects.toMatchObject({
      status: 429,
      code: 'rate_limit_exceeded',
    })
  })
})

describe('answers', () => {
  const anthropic = { 'x-api-key': 'sk-ant-test' }
  it.each([true, false])('are byte-identical for identical requests (stream: %s)', async stream => {
    const { simulator, chat, post, codex } = await openAiWorld()
    simulator.addApiKey('sk-ant-test', { provider: 'anthropic' })
    const grant = simulator.grantFor({ provider: 'openai-codex', account: 'acc' })
    const ask = async () => [
      (await chat(KEY, { stream })).text,
      (await codex(grant.access, 'acc', { stream })).text,
      (await post('/anthropic/v1/messages', { model: 'claude-sonnet-5', max_tokens: 9, messages: [], stream }, anthropic)).text,
    ]
    expect(await ask()).toEqual(await ask())
    expect((await chat(KEY, { stream, messages: [] })).text).not.toBe((await chat(KEY, { stream })).text)
  })

  it('of the Anthropic endpoint run from message_start to message_stop and carry the text of the plain answer', async () => {
    const { simulator, post } = await world()
    simulator.addApiKey('sk-ant-test', { provider: 'anthropic' })
    const body = { model: 'claude-sonnet-5', max_tokens: 100, messages: [{ role: 'user', content: 'Hi' }] }
    const whole = (await post('/anthropic/v1/messages', body, anthropic)).json
    const stream = await post('/anthropic/v1/messages', { ...body, stream: true }, anthropic)
    const events = [...stream.text.matchAll(/^event: (\w+)\ndata: (.+)\n\n/gm)].map(([, name, data]) => ({
      name,
      data: JSON.parse(data ?? ''),
    }))
    expect(events.map(({ name }) => name).filter(name => name !== 'content_block_delta')).toEqual([
      'message_start',
      'content_block_start',
      'ping',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(events.map(({ data }) => data.delta?.text ?? '').join('')).toBe(whole.content[0].text)
    expect(events.at(-2)?.data.usage.output_tokens).toBe(whole.usage.output_tokens)
  })

  it('to bodies that cannot be used say which field is wrong', async () => {
    const { post, chat } = await openAiWorld()
    const auth = { authorization: `Bearer ${KEY}` }
    expect((await chat(KEY, { messages: 'no list' })).json.error).toMatchObject({ code: 'missing_required_parameter', param: 'messages' })
    expect((await post('/v1/responses', { input: 'x' }, auth)).json.error.param).toBe('model')
    expect((await post('/v1/responses', 'no object', auth)).status).toBe(400)
    expect((await post('/v1/nothing', {}, auth)).status).toBe(404)
  })
})

describe('the caller check', () => {
  it('of the ChatGPT backend wants an OAuth token, its account, and store: false', async () => {
    const { simulator, codex, post, get } = await openAiWorld()
    const { access } = simulator.grantFor({ provider: 'openai-codex', account: 'acc' })
    const body = { model: 'gpt-5.5', input: 'x', store: false }
    const nobody = await post('/backend-api/codex/responses', body)
    expect([nobody.status, nobody.json.error.message]).toEqual([401, 'Missing bearer or basic authentication in header'])
    expect((await codex(KEY, 'acc')).status).toBe(401)
    expect((await post('/backend-api/codex/responses', body, { authorization: `Bearer ${access}` })).status).toBe(400)
    expect((await codex(access, 'another')).status).toBe(403)
    expect((await codex(access, 'acc', { store: true })).json).toEqual({ detail: 'Store must be set to false' })
    expect((await codex(access, 'acc')).status).toBe(200)
    const usage = await get('/backend-api/wham/usage', { authorization: `Bearer ${access}`, 'ChatGPT-Account-Id': 'acc' })
    expect(usage.json.rate_limit.primary_window.used_percent).toBe(12)
  })

  it('refuses a token the provider holds for expired although it says it is good', async () => {
    const { simulator, codex, chat, refresh } = await world()
    const grant = simulator.grantFor({ provider: 'openai-codex', account: 'acc' })
    expect((await chat(grant.access)).status).toBe(200)
    simulator.expireAccess('acc')
    expect((await codex(grant.access, 'acc')).json).toMatchObject({ status: 401, error: { code: 'token_expired' } })
    const fresh = (await refresh(grant.refresh)).json
    expect((await codex(fresh.access_token, 'acc')).status).toBe(200)
    expect(() => simulator.expireAccess('missing')).toThrow(RangeError)
  })

  it('refuses a token that was tampered with, and an id token', async () => {
    const { simulator, codex } = await world()
    const { access, idToken } = simulator.grantFor({ provider: 'openai-codex', account: 'acc' })
    expect((await codex(`${access}x`, 'acc')).status).toBe(401)
    expect((await codex(idToken, 'acc')).status).toBe(401)
  })

  it('of the Anthropic API takes keys and tokens of its own and says which way the others are wrong', async () => {
    const { simulator, post } = await openAiWorld()
    simulator.addApiKey('sk-ant-test', { provider: 'anthropic' })
    const live = simulator.grantFor({ provider: 'anthropic', account: 'live' })
    const old = simulator.grantFor({ provider: 'anthropic', account: 'old', firstAccessLifeMs: -1000 })
    const ended = simulator.grantFor({ provider: 'anthropic', account: 'ended' })
    simulator.revoke(ended.access)
    const ask = async (headers: Record<string, string>) => {
      const { status, json } = await post('/anthropic/v1/messages', { model: 'claude-sonnet-5', max_tokens: 9, messages: [] }, headers)
      return `${status} ${json.error?.message ?? json.type}`
    }
    expect(await ask({ 'x-api-key': 'sk-ant-test' })).toBe('200 message')
    expect(await ask({ authorization: `Bearer ${live.access}` })).toBe('200 message')
    expect(await ask({})).toContain('401 x-api-key header is required')
    expect(await ask({ 'x-api-key': KEY })).toContain('401 invalid x-api-key')
    expect(await ask({ authorization: `Bearer ${old.access}` })).toContain('401 OAuth token has expired.')
    expect(await ask({ authorization: `Bearer ${ended.access}` })).toContain('401 OAuth token has been revoked.')
  })

  it('is counted by path and status', async () => {
    const { simulator, chat } = await openAiWorld()
    await chat(KEY)
    await chat(KEY)
    await chat('wrong')
    expect(simulator.counts().providerCalls).toEqual({ total: 3, byPath: { '/v1/chat/completions': { 200: 2, 401: 1 } } })
  })
})
