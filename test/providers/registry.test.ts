import { describe, expect, it } from 'vitest'
import { createRegistry } from '../../src/providers/registry.ts'

describe('the registry', () => {
  it('knows the built-in providers without any configuration', () => {
    expect(
      createRegistry()
        .all()
        .map(provider => provider.id),
    ).toEqual(['openai-codex', 'openai', 'anthropic'])
  })

  it('names the providers it knows when asked for another one', () => {
    const registry = createRegistry({ mistral: { baseUrl: 'https://api.mistral.ai/v1' } })
    expect(registry.get('mistral').baseUrl).toBe('https://api.mistral.ai/v1')
    expect(() => registry.get('constructor')).toThrow(
      expect.objectContaining({
        code: 'GW_CONFIG',
        message: 'no provider is called "constructor"; known are openai-codex, openai, anthropic, mistral',
      }),
    )
  })

  it('lets settings replace what is built in, piece by piece', () => {
    const { oauth, baseUrl, paths } = createRegistry({
      'openai-codex': { baseUrl: 'http://127.0.0.1:9/backend/', tokenUrl: 'http://127.0.0.1:9/oauth/token', encoding: 'json' },
    }).get('openai-codex')
    expect(baseUrl).toBe('http://127.0.0.1:9/backend')
    expect(paths.responses).toBe('/codex/responses')
    expect(oauth).toMatchObject({ tokenUrl: 'http://127.0.0.1:9/oauth/token', clientId: 'app_EMoamEEZ73f0CkXaXp7hrann', encoding: 'json' })
  })

  it('knows every token URL: built in, overridden, configured and former', () => {
    const urls = createRegistry({
      'openai-codex': { tokenUrl: 'https://LOGIN.test:443/token?x=1' },
      acme: { baseUrl: 'https://acme.test', tokenUrl: 'https://acme.test/token', clientId: 'c' },
    }).tokenUrls()
    expect(Object.fromEntries(urls)).toEqual({
      'https://auth.openai.com/oauth/token': 'openai-codex',
      'https://login.test/token': 'openai-codex',
      'https://platform.claude.com/v1/oauth/token': 'anthropic',
      'https://console.anthropic.com/v1/oauth/token': 'anthropic',
      'https://acme.test/token': 'acme',
    })
  })

  it('refuses an id that cannot be a label', () => {
    expect(() => createRegistry({ 'A b': { baseUrl: 'https://x.test' } })).toThrow(expect.objectContaining({ code: 'GW_CONFIG' }))
  })
})
