import { describe, expect, it } from 'vitest'
import { anthropic } from '../../src/providers/anthropic.ts'
import { openai, openaiCodex, openaiCompatible } from '../../src/providers/openai.ts'
import { providerContract } from '../contracts/provider.ts'

providerContract('openai-codex', openaiCodex())
providerContract('openai', openai())
providerContract('anthropic', anthropic())
providerContract('a configured provider', openaiCompatible({ id: 'mistral', baseUrl: 'https://api.mistral.ai/v1/' }))

const oauth = (access: string, account?: string) => ({ type: 'oauth' as const, access, generation: 0, ...(account && { account }) })

function jwt(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none' })}.${part(claims)}.x`
}

const codexToken = jwt({ 'https://api.openai.com/auth': { chatgpt_account_id: 'acct-from-token' } })

describe('openai-codex', () => {
  const provider = openaiCodex()

  it('sends what the ChatGPT backend insists on', () => {
    expect(provider.authorize(oauth(codexToken))).toEqual({
      authorization: `Bearer ${codexToken}`,
      'chatgpt-account-id': 'acct-from-token',
      'openai-beta': 'responses=experimental',
      originator: 'gatewatch',
    })
    expect(provider.baseUrl + provider.paths.responses).toBe('https://chatgpt.com/backend-api/codex/responses')
  })

  it("prefers the credential's account, and leaves the client's own words alone", () => {
    const headers = provider.authorize(oauth(codexToken, 'acct-stored'), { originator: 'codex_cli_rs', 'openai-beta': 'x' })
    expect(headers).toEqual({ authorization: `Bearer ${codexToken}`, 'chatgpt-account-id': 'acct-stored' })
  })

  it('lets no account into a header that is more than an id', () => {
    const token = jwt({ 'https://api.openai.com/auth': { chatgpt_account_id: 'a\r\nx-evil: 1' } })
    expect(provider.authorize(oauth(token))).not.toHaveProperty('chatgpt-account-id')
  })

  it('is paid by subscription unless it is used with a key', () => {
    expect(provider.billingOf(oauth('x'))).toBe('subscription')
    expect(provider.billingOf({ type: 'api_key', key: 'x' })).toBe('metered')
  })
})

describe('anthropic', () => {
  const provider = anthropic()

  it('sends a key as x-api-key', () => {
    expect(provider.authorize({ type: 'api_key', key: 'k' })).toEqual({ 'x-api-key': 'k', 'anthropic-version': '2023-06-01' })
  })

  it("adds the OAuth beta to the client's betas, once", () => {
    const headers = provider.authorize(oauth('t'), {
      'anthropic-beta': 'files-api-2025, oauth-2025-04-20',
      'anthropic-version': '2024-01-01',
    })
    expect(headers).toEqual({ authorization: 'Bearer t', 'anthropic-beta': 'files-api-2025,oauth-2025-04-20' })
    expect(provider.authorize({ type: 'token', token: 't' })['anthropic-beta']).toBe('oauth-2025-04-20')
  })
})

describe('an OpenAI-compatible provider', () => {
  it('is made by configuration, OAuth included', () => {
    const provider = openaiCompatible({
      id: 'acme',
      baseUrl: 'http://10.0.0.5:8000/v1/',
      paths: { chat_completions: '/chat' },
      tokenUrl: 'https://login.acme.test/token',
      clientId: 'c',
      clientSecret: 's',
      billing: 'subscription',
      genaiName: 'acme-cloud',
    })
    expect(provider.baseUrl).toBe('http://10.0.0.5:8000/v1')
    expect(provider.paths).toEqual({ chat_completions: '/chat', responses: '/responses' })
    expect(provider.oauth).toEqual({ tokenUrl: 'https://login.acme.test/token', clientId: 'c', clientSecret: 's', encoding: 'form' })
    expect(provider.billingOf({ type: 'api_key', key: 'x' })).toBe('subscription')
    expect(provider.genaiName).toBe('acme-cloud')
    expect(openaiCompatible({ id: 'plain', baseUrl: 'https://x.test' })).not.toHaveProperty('oauth')
  })

  it.each([
    [{}, 'providers.acme.baseUrl is missing'],
    [{ baseUrl: 'localhost:8000' }, 'providers.acme.baseUrl must be an absolute'],
    [{ baseUrl: '/v1' }, 'providers.acme.baseUrl must be an absolute'],
    [{ baseUrl: 'https://me:hunter2@x.test' }, 'providers.acme.baseUrl must not carry'],
    [{ baseUrl: 'https://x.test?key=hunter2' }, 'providers.acme.baseUrl must not have a query'],
    [{ baseUrl: 'https://x.test', paths: { responses: 'responses' } }, 'providers.acme.paths.responses must begin'],
    [{ baseUrl: 'https://x.test', tokenUrl: 'https://y.test/hunter2' }, 'providers.acme.clientId is missing'],
    [{ baseUrl: 'https://x.test', clientId: 'hunter2' }, 'providers.acme.tokenUrl is missing'],
    [{ baseUrl: 'https://x.test', tokenUrl: 'http://y.test/hunter2', clientId: 'c' }, 'providers.acme.tokenUrl must begin with https'],
    [{ baseUrl: 'https://x.test', tokenUrl: 'http://127.evil.test/', clientId: 'c' }, 'providers.acme.tokenUrl must begin with https'],
  ])('refuses %o by naming the setting, not its value', (settings, message) => {
    const make = () => openaiCompatible({ id: 'acme', ...settings })
    expect(make).toThrow(expect.objectContaining({ code: 'GW_CONFIG', message: expect.stringContaining(message) }))
    expect(make).not.toThrow(/hunter2/)
  })
})
