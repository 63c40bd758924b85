import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { afterwards } from '../support/clean-up.ts'
import { imported, SIDECAR_ID, SourceFolder } from './source-folder.ts'

const AGENT = '.openclaw/agents/main/agent'
const SEED = { OPENCLAW_AUTH_PROFILE_SECRET_KEY: 'sample-seed' }
const LOGIN = { type: 'oauth', provider: 'openai-codex', access: 'sample-access-1', refresh: 'rt_sample_refresh_1', expires: 4102444800000 }
const TOKENS = { access: 'sample-access-2', refresh: 'rt_sample_refresh_2', idToken: 'sample-id-2' }
const REFERENCE = { source: 'openclaw-credentials', provider: 'openai-codex', id: SIDECAR_ID }
const REFERRING = { type: 'oauth', provider: 'openai-codex', expires: 4102444800000, oauthRef: REFERENCE }

function store(profiles: Record<string, unknown>) {
  return { version: 1, profiles }
}

function withProfile(profile: Record<string, unknown>, id = 'openai-codex:default'): SourceFolder {
  const folder = new SourceFolder()
  folder.write(`${AGENT}/auth-profiles.json`, store({ [id]: profile }))
  return folder
}

describe('the JSON store of OpenClaw', () => {
  it('gives every profile that has its secret, with order and health from auth-state.json', async () => {
    const folder = new SourceFolder()
    folder.put('openclaw', AGENT)
    const { profiles, order } = await imported(folder, { source: 'openclaw' })
    expect(profiles.map(({ id, outcome }) => [id, outcome])).toEqual([
      ['openai-codex:user@sample.example', 'imported'],
      ['openai:default', 'imported'],
      ['anthropic:setup', 'imported'],
      ['anthropic:claude-cli', 'imported'],
      ['openrouter:default', 'unusable'],
      ['openai:env', 'unusable'],
    ])
    expect(profiles[0]?.credential).toMatchObject({
      type: 'oauth',
      refresh: 'rt_sampleCodexRefresh0001',
      account: 'acct-sample-0001',
      expiresAt: 4102444800000,
      generation: 0,
    })
    expect(profiles[2]?.credential?.type).toBe('token')
    expect(order).toEqual(['openai-codex:user@sample.example', 'openai:default'])
    expect(profiles[1]?.notes).toEqual(['OpenClaw does not use it until 2100-01-01T00:00:00.000Z (billing)'])
    expect(profiles[5]?.notes.join()).toContain('gatewatch profiles add --api-key-env OPENAI_API_KEY')
  })

  it('is found by its state folder, its agent, its file and OPENCLAW_STATE_DIR', async () => {
    const folder = new SourceFolder()
    const agent = folder.put('openclaw', 'elsewhere/agents/main/agent')
    const ways = [
      { path: folder.path('elsewhere') },
      { path: agent },
      { path: `${agent}/auth-profiles.json` },
      { environment: { OPENCLAW_STATE_DIR: folder.path('elsewhere') } },
    ]
    for (const way of ways) expect((await imported(folder, { source: 'openclaw', ...way })).places).toEqual([`${agent}/auth-profiles.json`])
  })

  it('of other agents is named, not read', async () => {
    const folder = withProfile(LOGIN)
    folder.put('openclaw', '.openclaw/agents/research/agent')
    const { profiles, notes } = await imported(folder, { source: 'openclaw' })
    expect(profiles).toHaveLength(1)
    expect(notes.join()).toContain('.openclaw/agents/research/agent')
  })

  it('calls a ChatGPT login of 2026.6 and later what it is', async () => {
    const { profiles } = await imported(withProfile({ ...LOGIN, provider: 'openai' }, 'openai:default'), { source: 'openclaw' })
    expect(profiles).toMatchObject([{ id: 'openai-codex:default', provider: 'openai-codex', outcome: 'imported' }])
  })

  it.each([
    ['the word undefined', { refresh: 'undefined' }, 'its refresh token is the word "undefined"'],
    ['the word null', { access: 'null' }, 'its access token is the word "null"'],
    ['nothing', { refresh: '' }, 'its refresh token is an empty string'],
    ['a placeholder', { access: `$${'{CODEX_TOKEN}'}` }, 'its access token is a placeholder'],
    ['a mark of its own', { refresh: 'openclaw-oauth-refresh-fence:v1:claim:refresh:00' }, 'a refresh that is under way or has failed'],
    ['what a report leaves of it', { access: '***' }, 'was made unreadable'],
    ['two lines', { access: 'one\ntwo' }, 'characters that no header can carry'],
    ['neither token', { access: undefined, refresh: undefined }, 'neither an access token nor a refresh token'],
    ['an expired token alone', { refresh: undefined, expires: 1 + 1e12 }, 'it holds no refresh token'],
  ])('with %s in place of a token is refused with words', async (_what, part, why) => {
    const { profiles } = await imported(withProfile({ ...LOGIN, ...part }), { source: 'openclaw' })
    expect(profiles).toMatchObject([{ outcome: 'unusable', notes: [expect.stringContaining(why)] }])
  })

  it.each([
    ['cut off', '{"version":1,"profiles":{"openai:de', 'is cut off, or not a JSON object'],
    ['empty', '', 'is empty'],
    ['without profiles', '{"version":1}', '"profiles" is missing; allowed is an object of profiles'],
    ['encrypted as a whole', '{"encrypted":"AAAA"}', 'is encrypted as a whole'],
    ['a list', '[]', 'is cut off, or not a JSON object'],
    ['of profiles that are a list', '{"profiles":[]}', 'profiles is a list; allowed is an object'],
    ['with a profile that is text', '{"profiles":{"openai:me@x.example":"k"}}', 'is a string; allowed is an object'],
    ['without a provider', store({ 'openai:a': { type: 'api_key' } }), 'profiles.openai:a.provider is missing'],
    [
      'with an expiry in words',
      store({ 'openai-codex:a': { ...LOGIN, expires: 'tomorrow' } }),
      'profiles.openai-codex:a.expires is a string',
    ],
    ['with a token that is a number', store({ 'openai-codex:a': { ...LOGIN, access: 7 } }), 'profiles.openai-codex:a.access is a number'],
  ])('that is %s stops the import with the file, the key and what is allowed', async (_what, content, message) => {
    const folder = new SourceFolder()
    const path = folder.write(`${AGENT}/auth-profiles.json`, content)
    const error: Error = await imported(folder, { source: 'openclaw' }).then(Object, thrown => thrown)
    expect(error).toMatchObject({ code: 'GW_STORE_DAMAGED' })
    expect(error.message).toContain(path)
    expect(error.message).toContain(message)
    expect(error.message).not.toContain('me@x.example')
  })

  it('that is not there is reported as that', async () => {
    await expect(imported(new SourceFolder(), { source: 'openclaw' })).rejects.toMatchObject({ code: 'GW_CONFIG' })
  })
})

describe('an encrypted sidecar of OpenClaw 2026.5', () => {
  it('gives its tokens to the process that has the key', async () => {
    const folder = withProfile(REFERRING)
    folder.sidecar('openai-codex:default', TOKENS)
    const { profiles } = await imported(folder, { source: 'openclaw', environment: SEED })
    expect(profiles).toMatchObject([
      { outcome: 'imported', credential: { access: 'sample-access-2', refresh: 'rt_sample_refresh_2', expiresAt: 4102444800000 } },
    ])
  })

  it('is decrypted with the key file too', async () => {
    const folder = withProfile(REFERRING)
    folder.sidecar('openai-codex:default', TOKENS)
    folder.write('.openclaw-auth-profile-secrets/auth-profile-secret-key', 'sample-seed\n')
    expect((await imported(folder, { source: 'openclaw' })).profiles).toMatchObject([{ outcome: 'imported' }])
  })

  it.each<[string, (folder: SourceFolder) => unknown, Record<string, string>, string]>([
    ['without a key', folder => folder.sidecar('openai-codex:default', TOKENS), {}, 'are encrypted, and there is no key'],
    ['with another key', folder => folder.sidecar('openai-codex:default', TOKENS, { seed: 'other' }), SEED, 'cannot be decrypted'],
    ['that was changed', folder => folder.sidecar('openai-codex:default', TOKENS, { ciphertext: 'AAAA' }), SEED, 'cannot be decrypted'],
    ['with a short tag', folder => folder.sidecar('openai-codex:default', TOKENS, { tag: 'AAAA' }), SEED, 'cannot be decrypted'],
    [
      'in another cipher',
      folder => folder.sidecar('openai-codex:default', TOKENS, { algorithm: 'rot13' }),
      SEED,
      'a way that is not known',
    ],
    ['of another profile', folder => folder.sidecar('openai-codex:other', TOKENS), SEED, 'belong to another profile'],
    ['that is gone', () => undefined, SEED, 'an encrypted file that is not there'],
    ['with no tokens in it', folder => folder.sidecar('openai-codex:default', {}), SEED, 'neither an access token nor a refresh token'],
  ])('%s is reported, and no profile without tokens comes of it', async (_what, prepare, environment, why) => {
    const folder = withProfile(REFERRING)
    prepare(folder)
    const { profiles } = await imported(folder, { source: 'openclaw', environment })
    expect(profiles).toMatchObject([{ outcome: 'unusable', notes: [expect.stringContaining(why)] }])
    expect(profiles[0]?.credential).toBeUndefined()
  })

  it('is not looked for outside its folder', async () => {
    const folder = withProfile({ ...REFERRING, oauthRef: { ...REFERENCE, id: '../../agents/main/agent/auth-profiles' } })
    const { profiles } = await imported(folder, { source: 'openclaw', environment: SEED })
    expect(profiles).toMatchObject([{ outcome: 'unusable', notes: [expect.stringContaining('does not name one')] }])
  })
})

describe('the SQLite store of OpenClaw 2026.9', () => {
  it('is read as it lies there, journal and all, while OpenClaw has it open', async () => {
    const folder = new SourceFolder()
    const database = folder.database(`${AGENT}/openclaw-agent.sqlite`, {
      auth_profile_store: store({ 'openai:default': LOGIN, 'openai:key': { type: 'api_key', provider: 'openai', key: 'sk-sample-1' } }),
      auth_profile_state: { order: { openai: ['openai:key', 'openai:default'] } },
    })
    afterwards(() => database.close())
    folder.remember()
    // A temporary folder of its own: other tests import at the same time, and what they copy is in the common one.
    const copies = mkdtempSync(join(tmpdir(), 'gatewatch-copies-'))
    afterwards(() => rmSync(copies, { recursive: true, force: true }))
    vi.stubEnv('TMPDIR', copies)
    afterwards(() => vi.unstubAllEnvs())
    const { profiles, order } = await imported(folder, { source: 'openclaw' })
    expect(profiles.map(({ id }) => id)).toEqual(['openai-codex:default', 'openai:key'])
    expect(order).toEqual(['openai:key', 'openai-codex:default'])
    expect(folder.changes()).toEqual([])
    // The owner is not locked out: it writes on.
    database.exec("UPDATE auth_profile_store SET store_json = '{}'")
    expect(readdirSync(copies)).toEqual([])
  })

  it('gets no journal files beside it when no process has it open', async () => {
    const folder = new SourceFolder()
    folder.database(`${AGENT}/openclaw-agent.sqlite`, { auth_profile_store: store({ 'openai:default': LOGIN }) }).close()
    folder.remember()
    expect((await imported(folder, { source: 'openclaw' })).profiles).toHaveLength(1)
    expect(folder.changes()).toEqual([])
  })

  it('comes before the JSON it was made of, and before what all agents share', async () => {
    const folder = withProfile({ ...LOGIN, refresh: 'rt_sample_of_json' })
    folder
      .database(`${AGENT}/openclaw-agent.sqlite`, { auth_profile_store: store({ 'openai:default': { ...LOGIN, provider: 'openai' } }) })
      .close()
    const shared = folder.database('.openclaw/state/openclaw.sqlite', {})
    shared.exec('CREATE TABLE config_machine_state (state_key TEXT PRIMARY KEY, value_json TEXT)')
    const add = shared.prepare('INSERT INTO config_machine_state VALUES (?, ?)')
    add.run(
      'authProfiles.store',
      JSON.stringify(store({ 'openai:default': LOGIN, 'openai:all': { type: 'api_key', provider: 'openai', key: 'sk-sample-2' } })),
    )
    shared.close()
    const { profiles } = await imported(folder, { source: 'openclaw' })
    expect(profiles).toMatchObject([
      { id: 'openai-codex:default', credential: { refresh: 'rt_sample_refresh_1' } },
      { id: 'openai:all', credential: { key: 'sk-sample-2' } },
    ])
  })

  it.each<[string, (folder: SourceFolder) => unknown, string]>([
    ['no database', folder => folder.write(`${AGENT}/openclaw-agent.sqlite`, 'x'.repeat(9000)), 'is no SQLite database'],
    [
      'a database of another caller',
      folder => folder.database(`${AGENT}/openclaw-agent.sqlite`, { notes: {} }).close(),
      'has none of the tables',
    ],
    [
      'cut off inside',
      folder => folder.database(`${AGENT}/openclaw-agent.sqlite`, { auth_profile_store: '{"profiles":{' }).close(),
      'its profiles: what is stored is cut off',
    ],
    [
      'of tables that look otherwise',
      folder => {
        const database = folder.database(`${AGENT}/openclaw-agent.sqlite`, {})
        database.exec('CREATE TABLE auth_profile_store (id TEXT, blob BLOB)')
        database.close()
      },
      'has tables of another form',
    ],
  ])('that is %s stops the import', async (_what, prepare, message) => {
    const folder = new SourceFolder()
    prepare(folder)
    const error: Error = await imported(folder, { source: 'openclaw' }).then(Object, thrown => thrown)
    expect(error).toMatchObject({ code: 'GW_STORE_DAMAGED' })
    expect(error.message).toContain(message)
  })
})
