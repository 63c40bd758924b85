import { describe, expect, it } from 'vitest'
import { createRegistry } from '../../src/providers/registry.ts'

const ACME = { baseUrl: 'https://acme.test', tokenUrl: 'https://acme.test/token', clientId: 'c' }

describe('signing in, as data of a provider', () => {
  it('is built in for ChatGPT with the port and the scopes that its client is registered for', () => {
    const { oauth } = createRegistry().get('openai-codex')
    expect(oauth?.login).toMatchObject({
      redirectUrl: 'http://localhost:1455/auth/callback',
      scopes: ['openid', 'profile', 'email', 'offline_access'],
      deviceDialect: 'chatgpt',
    })
  })

  it('can be added to any provider by configuration', () => {
    const { oauth } = createRegistry({ acme: { ...ACME, authorizationUrl: 'https://acme.test/authorize', scopes: ['a'] } }).get('acme')
    expect(oauth?.login).toMatchObject({
      authorizationUrl: 'https://acme.test/authorize',
      scopes: ['a'],
      redirectUrl: 'http://127.0.0.1/callback',
    })
    expect(createRegistry({ acme: ACME }).get('acme').oauth?.login).toBeUndefined()
  })

  it('forgets the built-in addresses where the token endpoint is elsewhere: a code goes only to the server that issued it', () => {
    const { oauth } = createRegistry({ 'openai-codex': { tokenUrl: 'https://proxy.test/oauth/token' } }).get('openai-codex')
    const { authorizationUrl, deviceUrl, revocationUrl, issuer } = oauth?.login ?? {}
    expect([authorizationUrl, deviceUrl, revocationUrl, issuer]).toEqual([undefined, undefined, undefined, undefined])
    const same = createRegistry({ 'openai-codex': { clientId: 'another' } }).get('openai-codex')
    expect(same.oauth?.login?.authorizationUrl).toBe('https://auth.openai.com/oauth/authorize')
  })

  it.each([
    [{ authorizationUrl: 'http://acme.test/authorize' }, 'providers.acme.authorizationUrl must begin with https://'],
    [{ deviceUrl: 'http://acme.test/device' }, 'providers.acme.deviceUrl must begin with https://'],
    [{ revocationUrl: 'http://acme.test/revoke' }, 'providers.acme.revocationUrl must begin with https://'],
    [{ redirectUrl: 'callback' }, 'providers.acme.redirectUrl must be an absolute URL'],
    [{ authorizationParameters: { state: 'fixed' } }, 'providers.acme.authorizationParameters.state is set by Gatewatch itself'],
  ])('refuses what would undo what protects a login: %j', (settings, message) => {
    expect(() => createRegistry({ acme: { ...ACME, ...settings } })).toThrow(message)
  })
})
