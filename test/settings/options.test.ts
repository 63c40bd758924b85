import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { type StartOptions, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../src/server/server.ts'
import { isLoopback, parseSettings } from '../../src/settings/options.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { atTheEnd, eventually } from '../support/gateway-world.ts'

const SOURCE = '/etc/gatewatch/gateway.json'

/** What is said of settings that cannot be used. */
function complaint(input: unknown): string {
  try {
    parseSettings(input, SOURCE)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    expect(error).toMatchObject({ code: 'GW_CONFIG', next: 'fix_configuration' })
    return error.message
  }
  throw new Error('the settings were accepted')
}

/** What is said of options by which no gateway can start. */
async function refusal(options: Record<string, unknown>, store: readonly StoredProfile[] = []): Promise<string> {
  try {
    const watch = await startGatewatch({ store: memoryStore(store), source: SOURCE, environment: {}, ...options } as StartOptions)
    atTheEnd(() => watch.close())
    const serving = await serveGatewatch(watch)
    atTheEnd(() => serving.stop(0))
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    expect(error).toMatchObject({ code: 'GW_CONFIG', next: 'fix_configuration' })
    return error.message
  }
  throw new Error('the gateway started')
}

const ROOT_KEYS = 'listen, state, providers, profiles, order, gate, fallback, upstream, probe, labels'

describe('settings', () => {
  it('all have a default', () => {
    expect(parseSettings({}, SOURCE)).toEqual({
      listen: {
        host: '127.0.0.1',
        port: 8089,
        maxBodyBytes: 33_554_432,
        requestTimeoutMs: 60_000,
        slowClientMs: 120_000,
        stopGraceMs: 25_000,
      },
      state: './gatewatch-state',
      providers: {},
      profiles: {},
      gate: {},
      fallback: { metered: 'allow' },
      upstream: {},
      probe: {},
      labels: {},
    })
  })

  it('are taken as they are when every key is used', () => {
    const all = {
      listen: {
        host: '0.0.0.0',
        port: 0,
        keysEnv: 'KEYS',
        maxBodyBytes: 2048,
        maxBufferedBytes: 4096,
        requestTimeoutMs: 100,
        slowClientMs: 100,
        stopGraceMs: 0,
      },
      state: '/var/lib/gatewatch',
      providers: {
        corp: {
          baseUrl: 'https://llm.corp.example/v1',
          tokenUrl: 'https://login.corp.example/token',
          clientId: 'gw',
          clientSecretEnv: 'CORP_SECRET',
          encoding: 'json' as const,
          paths: { responses: '/r', chat_completions: '/c', messages: '/m' },
          modelsPath: '/models',
        },
      },
      profiles: { 'corp:default': { provider: 'corp', billing: 'subscription' as const, apiKeyEnv: 'CORP_KEY' } },
      order: ['corp:default'],
      gate: {
        earlyMs: 0,
        forced: 'refresh' as const,
        leaseWaitMs: 100,
        requestTimeoutMs: 100,
        listenMs: 100,
        rotationGraceMs: 0,
        bypass: 'enforce',
      },
      fallback: { metered: 'deny' as const },
      upstream: { headersTimeoutMs: 10, bodyIdleMs: 10, connectTimeoutMs: 10 },
      probe: { everyMs: 1_000 },
      labels: { drop: ['profile' as const], profileGroup: '^([^/]+)/' },
    }
    expect(parseSettings(all, SOURCE)).toEqual(all)
  })
})

describe('an unknown key is refused, with those that are allowed there', () => {
  it.each([
    [{ listn: {} }, `listn: is an unknown key; allowed: ${ROOT_KEYS}`],
    [JSON.parse('{"__proto__": {}}'), `__proto__: is an unknown key; allowed: ${ROOT_KEYS}`],
    [
      { listen: { prot: 1 } },
      'listen.prot: is an unknown key; allowed: host, port, keysEnv, maxBodyBytes, maxBufferedBytes, requestTimeoutMs, slowClientMs, stopGraceMs',
    ],
    [
      { providers: { corp: { url: 'x' } } },
      'providers.corp.url: is an unknown key; allowed: baseUrl, tokenUrl, clientId, clientSecretEnv, encoding, authorizationUrl, deviceUrl, deviceDialect, revocationUrl, issuer, redirectUrl, scopes, authorizationParameters, paths, modelsPath',
    ],
    [
      { providers: { corp: { paths: { chat: '/x' } } } },
      'providers.corp.paths.chat: is an unknown key; allowed: responses, chat_completions, messages',
    ],
    [
      { providers: { corp: { paths: { models: '/x' } } } },
      'providers.corp.paths.models: is an unknown key; allowed: responses, chat_completions, messages',
    ],
    [
      { profiles: { 'openai:default': { provider: 'openai', apiKey: 'x' } } },
      'profiles.openai:default.apiKey: is an unknown key; allowed: provider, billing, apiKeyEnv, name',
    ],
    [
      { gate: { early: 1 } },
      'gate.early: is an unknown key; allowed: earlyMs, forced, leaseWaitMs, requestTimeoutMs, listenMs, rotationGraceMs, bypass',
    ],
    [{ fallback: { metred: 'deny' } }, 'fallback.metred: is an unknown key; allowed: metered'],
    [{ upstream: { timeout: 1 } }, 'upstream.timeout: is an unknown key; allowed: headersTimeoutMs, bodyIdleMs, connectTimeoutMs'],
    [{ labels: { group: 'x' } }, 'labels.group: is an unknown key; allowed: drop, profileGroup'],
    [{ telemetry: {} }, `telemetry: is an unknown key; allowed: ${ROOT_KEYS}`],
  ])('%j', (input, expected) => {
    expect(complaint(input)).toBe(`${SOURCE}: ${expected}`)
  })
})

describe('a wrong value is refused, with its type and what is allowed', () => {
  it.each([
    [undefined, '(the whole): is missing, allowed: an object'],
    [null, '(the whole): is null, allowed: an object'],
    [[], '(the whole): is an array, allowed: an object'],
    ['listen', '(the whole): is a string, allowed: an object'],
    [{ listen: null }, 'listen: is null, allowed: an object'],
    [{ listen: [] }, 'listen: is an array, allowed: an object'],
    [{ profiles: [] }, 'profiles: is an array, allowed: an object'],
    [{ providers: { corp: [] } }, 'providers.corp: is an array, allowed: an object'],
    [{ listen: { port: '8089' } }, 'listen.port: is a string, allowed: a whole number from 0 to 65535'],
    [{ listen: { port: 70_000 } }, 'listen.port: is the number 70000, allowed: a whole number from 0 to 65535'],
    [{ listen: { port: -1 } }, 'listen.port: is the number -1, allowed: a whole number from 0 to 65535'],
    [{ listen: { port: 80.5 } }, 'listen.port: is the number 80.5, allowed: a whole number from 0 to 65535'],
    [{ listen: { host: '' } }, 'listen.host: is a string, allowed: a string that is not empty'],
    [{ listen: { maxBodyBytes: 0 } }, 'listen.maxBodyBytes: is the number 0, allowed: a whole number from 1024 to 1073741824'],
    [{ listen: { requestTimeoutMs: true } }, 'listen.requestTimeoutMs: is the boolean true, allowed: a whole number from 100 to 3600000'],
    [{ listen: { keysEnv: 'not a name' } }, 'listen.keysEnv: is a string, allowed: the name of an environment variable'],
    [{ providers: { corp: { baseUrl: 'llm.corp' } } }, 'providers.corp.baseUrl: is a string, allowed: an http or https URL'],
    [{ providers: { corp: { baseUrl: 'ftp://llm.corp' } } }, 'providers.corp.baseUrl: is a string, allowed: an http or https URL'],
    [{ providers: { corp: { tokenUrl: 7 } } }, 'providers.corp.tokenUrl: is the number 7, allowed: an http or https URL'],
    [{ providers: { corp: { encoding: 'xml' } } }, 'providers.corp.encoding: is a string, allowed: "form" or "json"'],
    [{ providers: { corp: { modelsPath: 'models' } } }, 'providers.corp.modelsPath: is a string, allowed: a path that begins with a slash'],
    [{ profiles: { me: {} } }, 'profiles.me.provider: is missing, allowed: a string that is not empty'],
    [{ profiles: { me: { provider: '' } } }, 'profiles.me.provider: is a string, allowed: a string that is not empty'],
    [{ profiles: { me: null } }, 'profiles.me: is null, allowed: an object'],
    [
      { profiles: { me: { provider: 'openai', billing: 'free' } } },
      'profiles.me.billing: is a string, allowed: "subscription" or "metered"',
    ],
    [{ profiles: { 'a b.c': { provider: {} } } }, 'profiles["a b.c"].provider: is an object, allowed: a string that is not empty'],
    [{ order: 'openai:default' }, 'order: is a string, allowed: an array of strings'],
    [{ order: ['a', 5] }, 'order.1: is the number 5, allowed: a string that is not empty'],
    [{ order: ['a', 'b', 'a'] }, 'order.2: is the string "a" once more, allowed: each profile once'],
    [{ gate: { forced: 'never' } }, 'gate.forced: is a string, allowed: "reuse" or "refresh"'],
    [{ gate: { earlyMs: -1 } }, 'gate.earlyMs: is the number -1, allowed: a whole number from 0 to 86400000'],
    [{ fallback: { metered: false } }, 'fallback.metered: is the boolean false, allowed: "allow" or "deny"'],
    [
      { upstream: { bodyIdleMs: Number.POSITIVE_INFINITY } },
      'upstream.bodyIdleMs: is the number Infinity, allowed: a whole number from 10 to 3600000',
    ],
    [
      { profiles: { 'openai:x': { provider: 'openai', name: 'Me & You' } } },
      'profiles.openai:x.name: is a string, allowed: a word of lower-case letters, digits, "-" and "_"',
    ],
    [{ labels: { drop: ['outcome'] } }, 'labels.drop.0: is a string, allowed: "profile" or "model" or "caller"'],
    [
      { labels: { profileGroup: '^tenant' } },
      'labels.profileGroup: is a string, allowed: a regular expression with a group in parentheses',
    ],
    [{ labels: { profileGroup: '(' } }, 'labels.profileGroup: is a string, allowed: a regular expression with a group in parentheses'],
    [{ state: 1 }, 'state: is the number 1, allowed: a string that is not empty'],
  ])('%j', (input, expected) => {
    expect(complaint(input)).toBe(`${SOURCE}: ${expected}`)
  })

  it('and so are all others in the same message', () => {
    expect(complaint({ listn: {}, listen: { port: 'x' }, gate: [] })).toBe(
      `${SOURCE}: listen.port: is a string, allowed: a whole number from 0 to 65535; listn: is an unknown key; allowed: ${ROOT_KEYS}; gate: is an array, allowed: an object`,
    )
  })
})

describe('an address that others can reach', () => {
  it.each(['0.0.0.0', '::', '10.0.0.7', 'gateway.corp.example', '127.0.0.1.evil.example', 'localhost.evil.example'])(
    '%s is refused without keys',
    host => {
      expect(complaint({ listen: { host } })).toBe(
        `${SOURCE}: listen.host: is no loopback address, allowed: one, or listen.keysEnv beside it, naming the environment variable with the keys clients must show`,
      )
      expect(parseSettings({ listen: { host, keysEnv: 'KEYS' } }, SOURCE).listen.host).toBe(host)
    },
  )

  it.each(['127.0.0.1', '127.8.9.10', 'localhost', '::1', '[::1]'])('is not %s', host => {
    expect(isLoopback(host)).toBe(true)
    expect(parseSettings({ listen: { host } }, SOURCE).listen.host).toBe(host)
  })

  it.each<[string, NodeJS.ProcessEnv, string]>([
    ['not set', {}, 'listen.keysEnv: the environment variable GATEWAY_KEYS holds no key'],
    ['of commas', { GATEWAY_KEYS: ' , ,' }, 'listen.keysEnv: the environment variable GATEWAY_KEYS holds no key'],
    [
      'short',
      { GATEWAY_KEYS: 'long-enough-as-keys-go,short' },
      'listen.keysEnv: 1 of the keys in GATEWAY_KEYS are shorter than 16 characters',
    ],
  ])('is not served with keys that are %s', async (_what, environment, expected) => {
    expect(await refusal({ listen: { port: 0, keysEnv: 'GATEWAY_KEYS' }, environment })).toBe(`${SOURCE}: ${expected}`)
  })
})

describe('what only shows against the rest', () => {
  const stored: StoredProfile = { id: 'openai:default', provider: 'openai', credential: { type: 'api_key', key: 'sk-canary-0001' } }
  const known = '"openai-codex" or "openai" or "anthropic"'

  it.each<[string, Record<string, unknown>, string]>([
    [
      'a profile of an unknown provider',
      { profiles: { me: { provider: 'opnai' } } },
      `profiles.me.provider: is the string "opnai", allowed: ${known}`,
    ],
    [
      'an order that names an unknown profile',
      { order: ['openai:default', 'openai:othr'] },
      'order.1: is the string "openai:othr", which is no profile; allowed: "openai:default"',
    ],
    [
      'a key whose variable is not set',
      { profiles: { me: { provider: 'openai', apiKeyEnv: 'ME_KEY' } } },
      'profiles.me.apiKeyEnv: the environment variable ME_KEY is not set',
    ],
    [
      'a secret whose variable is empty',
      { providers: { corp: { baseUrl: 'http://a', clientSecretEnv: 'CORP' } }, environment: { CORP: '' } },
      'providers.corp.clientSecretEnv: the environment variable CORP is empty',
    ],
    [
      'a provider without a base URL',
      { providers: { corp: {} } },
      'providers.corp.baseUrl is missing: a provider that is not built in needs one',
    ],
    [
      'an OAuth provider without a client',
      { providers: { corp: { baseUrl: 'http://a', tokenUrl: 'https://b' } } },
      'providers.corp.clientId is missing: an OAuth provider needs both tokenUrl and clientId',
    ],
    [
      'a token URL that leaves the machine in the clear',
      { providers: { openai: { tokenUrl: 'http://b.example/token', clientId: 'c' } } },
      'providers.openai.tokenUrl must begin with https:// (http:// is allowed on loopback only)',
    ],
    [
      'a provider id that is no name',
      { providers: { 'My Corp': { baseUrl: 'http://a' } } },
      'providers: "My Corp" cannot be a provider id; use lower-case letters, digits, "-", "_" and "."',
    ],
  ])('%s is refused', async (_what, options, expected) => {
    expect(await refusal(options, [stored])).toBe(`${SOURCE}: ${expected}`)
  })

  it('a stored profile of a provider that is not configured is refused', async () => {
    const foreign: StoredProfile = { ...stored, id: 'corp:default', provider: 'corp' }
    expect(await refusal({}, [foreign])).toBe(
      `${SOURCE}: providers: lacks "corp", the provider of the stored profile "corp:default"; known: ${known}`,
    )
  })

  it('an address that is taken is refused with the system’s own word', async () => {
    const squatter = createServer().listen(0, '127.0.0.1')
    atTheEnd(async () => squatter.close())
    const port = await eventually(() => (squatter.address() as AddressInfo).port)
    expect(await refusal({ listen: { port } })).toBe(`${SOURCE}: listen: 127.0.0.1:${port} cannot be bound (EADDRINUSE)`)
  })
})

describe('no message', () => {
  const secret = 'sk-proj-canary0123456789canary'
  it.each<[string, Record<string, unknown>]>([
    ['a key where its variable belongs', { profiles: { me: { provider: 'openai', apiKeyEnv: secret } } }],
    ['a key that could be a variable', { profiles: { me: { provider: 'openai', apiKeyEnv: secret.replaceAll('-', '_') } } }],
    ['a key where the provider belongs', { profiles: { me: { provider: secret } } }],
    ['a key as the name of a setting', { [secret]: true }],
    ['a key as the name of a profile', { profiles: { [secret]: {} } }],
    ['a key in the order', { order: [secret] }],
    ['a key in an unknown setting', { profiles: { me: { provider: 'openai', apiKey: secret } } }],
    ['a key in a URL', { providers: { corp: { baseUrl: `ftp://user:${secret}@host` } } }],
    ['a key in a URL that is well-formed', { providers: { corp: { baseUrl: `https://user:${secret}@host` } } }],
    ['a key as an encoding', { providers: { corp: { encoding: secret } } }],
    ['a key that is too short for a client', { listen: { port: 0, keysEnv: 'KEYS' }, environment: { KEYS: 'canary' } }],
  ])('repeats %s', async (_what, options) => {
    const message = await refusal(options)
    expect(message).toContain(`${SOURCE}: `)
    expect(message).not.toContain('canary')
  })
})
