import { utimesSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createRegistry } from '../../src/providers/registry.ts'
import { imported, SourceFolder } from './source-folder.ts'

const CODEX = '.codex/auth.json'
const CLAUDE = '.claude/.credentials.json'
const GEMINI = '.gemini/oauth_creds.json'
const GOOGLE = createRegistry({
  google: {
    baseUrl: 'https://gemini.example/v1',
    tokenUrl: 'https://oauth.example/token',
    clientId: 'a-client',
    clientSecret: 'sample-secret',
  },
})

function failure(work: Promise<unknown>): Promise<Error & { code?: string }> {
  return work.then(
    () => new Error('it did not fail'),
    thrown => thrown,
  )
}

describe('the login of the Codex CLI', () => {
  it('comes with the account and the expiry in its tokens', async () => {
    const folder = new SourceFolder()
    folder.put('codex/chatgpt.json', CODEX)
    const { profiles } = await imported(folder, { source: 'codex' })
    expect(profiles).toMatchObject([
      {
        id: 'openai-codex:codex-cli',
        outcome: 'imported',
        rotates: true,
        credential: {
          type: 'oauth',
          account: 'acct-sample-0001',
          expiresAt: 4102444800000,
          issuedAt: Date.parse('2026-01-10T00:00:00.123Z'),
        },
      },
    ])
  })

  it('may be an API key', async () => {
    const folder = new SourceFolder()
    folder.put('codex/api-key.json', CODEX)
    const { profiles } = await imported(folder, { source: 'codex', takeOwnership: false })
    expect(profiles).toMatchObject([
      {
        id: 'openai:codex-cli',
        provider: 'openai',
        outcome: 'imported',
        rotates: false,
        credential: { key: 'sk-sample-codex-cli-key-0001' },
      },
    ])
  })

  it('is found in CODEX_HOME, in a folder and as a file', async () => {
    const folder = new SourceFolder()
    const path = folder.put('codex/chatgpt.json', 'work/auth.json')
    for (const way of [{ path }, { path: folder.path('work') }, { environment: { CODEX_HOME: folder.path('work') } }])
      expect((await imported(folder, { source: 'codex', ...way })).places).toEqual([path])
  })

  it('that is signed out brings nothing, and says so', async () => {
    const folder = new SourceFolder()
    folder.write(CODEX, { OPENAI_API_KEY: null, tokens: null })
    const { profiles, notes } = await imported(folder, { source: 'codex' })
    expect(profiles).toEqual([])
    expect(notes.join()).toContain('Codex is signed out')
  })
})

describe('the login of Claude Code', () => {
  it('comes with its scopes; what other servers gave is left', async () => {
    const folder = new SourceFolder()
    folder.put('claude/credentials.json', CLAUDE)
    const { profiles } = await imported(folder, { source: 'claude' })
    expect(profiles).toMatchObject([
      {
        id: 'anthropic:claude-cli',
        outcome: 'imported',
        rotates: true,
        credential: { type: 'oauth', scope: 'user:inference user:profile' },
      },
    ])
    expect(JSON.stringify(profiles)).not.toContain('sample-of-another-server')
  })

  it('of setup-token is a bearer token that is not refreshed', async () => {
    const folder = new SourceFolder()
    folder.write(CLAUDE, { claudeAiOauth: { accessToken: 'sk-ant-oat01-sample', refreshToken: null, expiresAt: 4102444800 } })
    const { profiles } = await imported(folder, { source: 'claude', takeOwnership: false })
    expect(profiles).toMatchObject([{ outcome: 'imported', credential: { type: 'token', expiresAt: 4102444800000 } }])
  })

  it('that is none says so', async () => {
    const folder = new SourceFolder()
    folder.write(CLAUDE, { mcpOAuth: {} })
    expect((await imported(folder, { source: 'claude' })).notes.join()).toContain('Claude Code is signed out')
  })
})

describe('the login of the Gemini CLI', () => {
  it('comes without a word about owners: Google lets a refresh token live on', async () => {
    const folder = new SourceFolder()
    folder.put('gemini/oauth_creds.json', GEMINI)
    const { profiles } = await imported(folder, { source: 'gemini', registry: GOOGLE, takeOwnership: false })
    expect(profiles).toMatchObject([
      {
        id: 'google:gemini-cli',
        outcome: 'imported',
        rotates: false,
        credential: { refresh: '1//0sample-gemini-refresh-0001', expiresAt: 4102444800000 },
      },
    ])
  })

  it('is left out while no provider is called google: the gateway would not start with it', async () => {
    const folder = new SourceFolder()
    folder.put('gemini/oauth_creds.json', GEMINI)
    const { profiles } = await imported(folder, { source: 'gemini', registry: createRegistry() })
    expect(profiles).toMatchObject([{ outcome: 'unusable', notes: [expect.stringContaining('no provider is called google')] }])
  })
})

describe('every file of a login', () => {
  const SOURCES = [
    ['codex', 'codex/chatgpt.json', CODEX],
    ['claude', 'claude/credentials.json', CLAUDE],
    ['gemini', 'gemini/oauth_creds.json', GEMINI],
    ['openclaw', 'openclaw', '.openclaw/agents/main/agent'],
  ] as const

  it.each(SOURCES)('of %s keeps its bytes and its times', async (source, sample, name) => {
    const folder = new SourceFolder()
    folder.put(sample, name)
    folder.remember()
    expect((await imported(folder, { source, registry: GOOGLE })).profiles.length).toBeGreaterThan(0)
    expect(folder.changes()).toEqual([])
  })

  it('that is changed after all would be noticed', async () => {
    const folder = new SourceFolder()
    const path = folder.put('codex/chatgpt.json', CODEX)
    folder.remember()
    utimesSync(path, new Date(), new Date())
    folder.write('.codex/auth.json.lock', '')
    expect(folder.changes()).toEqual(expect.arrayContaining([path, `${path}.lock`]))
  })

  it.each([
    ['codex', CODEX, '{"tokens":{"access_token":', 'is cut off, or not a JSON object'],
    ['codex', CODEX, { tokens: [] }, 'tokens is a list; allowed is an object'],
    ['codex', CODEX, { tokens: { refresh_token: 5 } }, 'tokens.refresh_token is a number; allowed is a string'],
    [
      'claude',
      CLAUDE,
      { claudeAiOauth: { accessToken: 'a', expiresAt: '2030' } },
      'claudeAiOauth.expiresAt is a string; allowed is a number',
    ],
    ['claude', CLAUDE, { claudeAiOauth: { accessToken: 'a', refreshToken: 'b', scopes: 'all' } }, 'claudeAiOauth.scopes is a string'],
    ['gemini', GEMINI, { access_token: {} }, 'access_token is an object; allowed is a string'],
  ] as const)('of %s that is damaged stops the import with file, key, type and what is allowed', async (source, name, content, message) => {
    const folder = new SourceFolder()
    const path = folder.write(name, content)
    const error = await failure(imported(folder, { source }))
    expect(error.code).toBe('GW_STORE_DAMAGED')
    expect(error.message).toContain(`${path}: ${message}`)
  })

  it.each([
    ['codex', CODEX, { tokens: { access_token: 'undefined', refresh_token: 'undefined' } }],
    ['codex', CODEX, { OPENAI_API_KEY: '' }],
    ['claude', CLAUDE, { claudeAiOauth: { accessToken: 'null', refreshToken: 'null' } }],
    ['gemini', GEMINI, { access_token: '', refresh_token: '1//0sample' }],
  ] as const)('of %s with a word in place of a token is refused with words', async (source, name, content) => {
    const folder = new SourceFolder()
    folder.write(name, content)
    const { profiles } = await imported(folder, { source, registry: GOOGLE })
    expect(profiles).toMatchObject([{ outcome: 'unusable', notes: [expect.stringMatching(/is the word "|is an empty string/)] }])
  })

  it('that is a folder, or too large, is no file of a login', async () => {
    const folder = new SourceFolder()
    folder.write('large.json', `{"a":"${'x'.repeat(17 * 1024 * 1024)}"}`)
    folder.write('work/auth.json/inside', '')
    expect((await failure(imported(folder, { source: 'codex', path: folder.path('large.json') }))).message).toContain(
      'at most 16777216 are allowed',
    )
    expect((await failure(imported(folder, { source: 'codex', path: folder.path('work') }))).message).toContain('is no file')
  })
})
