import { describe, expect, it } from 'vitest'
import { EndpointRegistry } from '../../src/token-requests/endpoint-registry.ts'

describe('known endpoints', () => {
  const endpoints = new EndpointRegistry({
    tokenUrls: {
      'http://127.0.0.1:9/oauth/token': 'openai-codex',
      'http://127.0.0.1:8/oauth/acme/token': 'acme',
      'https://auth.acme.test/token': 'acme',
    },
    apis: { 'http://127.0.0.1:9/backend-api': 'openai-codex', 'https://llm.acme.test/v1/': 'acme' },
    exclude: ['https://api.openai.com/v1/files'],
  })

  it.each([
    ['https://auth.openai.com/oauth/token', 'openai-codex'],
    ['https://auth.openai.com/oauth/token?x=1', 'openai-codex'],
    ['https://console.anthropic.com/v1/oauth/token', 'anthropic'],
    ['https://oauth2.googleapis.com/token', 'google'],
    ['http://127.0.0.1:9/oauth/token', 'openai-codex'],
    ['https://auth.acme.test/token', 'acme'],
    ['http://127.0.0.1:8/oauth/acme/token/key-of-the-gateway', 'acme'],
    ['http://127.0.0.1:8/oauth/other/token/key-of-the-gateway', undefined],
    ['https://auth.openai.com/oauth/authorize', undefined],
    ['https://auth.openai.com.evil.test/oauth/token', undefined],
  ])('the token endpoint %s belongs to %s', (url, service) => {
    expect(endpoints.tokenServiceAt(new URL(url))?.id).toBe(service)
  })

  it.each([
    ['https://api.openai.com/v1/responses', 'openai', 'responses'],
    ['https://api.openai.com/v1/embeddings', 'openai', undefined],
    ['https://api.anthropic.com/v1/messages', 'anthropic', 'messages'],
    ['https://chatgpt.com/backend-api/codex/responses', 'openai-codex', 'responses'],
    ['https://chatgpt.com/backend-api/wham/usage', 'openai-codex', undefined],
    ['http://127.0.0.1:9/backend-api/codex/responses', 'openai-codex', 'responses'],
    ['https://llm.acme.test/v1/chat/completions', 'acme', 'chat_completions'],
    ['https://llm.acme.test/v10/chat/completions', undefined, undefined],
  ])('the API request to %s goes to %s and speaks %s', (url, service, protocol) => {
    const match = endpoints.apiAt(new URL(url))
    expect([match?.service.id, match?.protocol]).toEqual([service, protocol])
  })

  it('are not looked at where they are excluded', () => {
    expect(endpoints.isExcluded(new URL('https://api.openai.com/v1/files/7'))).toBe(true)
    expect(endpoints.isExcluded(new URL('https://api.openai.com/v1/filesystem'))).toBe(false)
  })
})
