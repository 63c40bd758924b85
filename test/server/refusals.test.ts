import { describe, expect, it } from 'vitest'
import type { FaultName } from '../../src/simulator/fault.ts'
import { namedFault } from '../../src/simulator/fault.ts'
import { ANTHROPIC_PROFILE, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'

const MESSAGES = { model: 'claude-sonnet-5', max_tokens: 9, messages: [] }

describe('a refusal that concerns the client', () => {
  it.each<[FaultName, number]>([
    ['bad_request_400', 400],
    ['invalid_encrypted_content', 400],
    ['model_not_found_404', 404],
    ['throttled_429', 429],
    ['insufficient_quota_429', 429],
    ['server_error_500', 500],
    ['bad_gateway_html_502', 502],
    ['unavailable_503', 503],
    ['overloaded_529', 529],
  ])('%s comes back as the provider said it', async (name, status) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', name, headers: { 'x-request-id': 'req_0123456789' } })
    const answer = await w.chat()
    const { body, headers = {} } = namedFault(name)
    expect(answer.status).toBe(status)
    expect(answer.json ?? answer.text).toEqual(body)
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      ...headers,
      'x-request-id': 'req_0123456789',
      'x-gatewatch-profile': 'openai:default',
      'x-gatewatch-attempts': '1',
    })
  })

  it('is that of the last profile that answered', async () => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, 'openai:second': OPENAI_PROFILE['openai:default'] } })
    w.simulator.inject({ where: 'provider', name: 'throttled_429', times: 1 })
    w.simulator.inject({ where: 'provider', resetBeforeCommit: true, times: 1 })
    const answer = await w.chat()
    expect(answer.status).toBe(429)
    expect(answer.headers.get('retry-after')).toBe('2')
  })

  it('reaches a client of Anthropic in its own words', async () => {
    const w = await gatewayWorld({ profiles: ANTHROPIC_PROFILE })
    w.simulator.inject({ where: 'provider', name: 'overloaded_529' })
    const answer = await w.post('/v1/messages', MESSAGES)
    expect(answer).toMatchObject({ status: 529, json: { type: 'error', error: { type: 'overloaded_error' } } })
  })
})

describe('a refusal of our credential', () => {
  it.each<[FaultName, string]>([
    ['invalid_api_key_401', 'replace_key'],
    ['missing_scope_403', 'replace_key'],
    ['region_403', 'check_network'],
    ['payment_required_402', 'check_account'],
    ['cloudflare_html_403', 'try_again_later'],
  ])('%s becomes a 502 of ours: the client’s own key is not at fault', async (name, next) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', name })
    const answer = await w.chat()
    expect(answer.status).toBe(502)
    expect(answer.json).toEqual({
      error: {
        message: expect.stringMatching(/^no profile could serve chat_completions of model gpt-5\.5: openai:default \(\w+\)(?:$|\. [A-Z])/),
        type: 'gatewatch_error',
        param: null,
        code: 'GW_ALL_PROFILES_FAILED',
        next,
      },
    })
  })

  it('becomes the same in the words of Anthropic', async () => {
    const w = await gatewayWorld({ profiles: ANTHROPIC_PROFILE })
    w.simulator.inject({ where: 'provider', name: 'anthropic_token_revoked_401' })
    const answer = await w.post('/v1/messages', MESSAGES)
    expect(answer).toMatchObject({
      status: 502,
      json: { type: 'error', error: { type: 'api_error', message: expect.stringContaining('GW_ALL_PROFILES_FAILED') } },
    })
  })
})

describe('a refusal that is too long', () => {
  it('is not passed on in half', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', name: 'bad_request_400', hugeBodyBytes: 200_000 })
    const answer = await w.chat()
    expect(answer).toMatchObject({
      status: 400,
      json: { error: { code: 'GW_BAD_REQUEST', message: 'the provider could not read the request (format)' } },
    })
  })
})

describe('a fault of the gateway itself', () => {
  it('is answered without a word of it', async () => {
    const w = await gatewayWorld({
      profiles: OPENAI_PROFILE,
      providers: { openai: { baseUrl: 'http://127.0.0.1:9' } },
      environment: { OPENAI_KEY: 'canary with spaces' },
    })
    const answer = await w.chat()
    expect(answer.status).toBe(502)
    expect(answer.json.error.message).toContain('openai:default (auth_permanent)')
    expect(answer.text + JSON.stringify(w.spans())).not.toContain('canary')
  })
})
