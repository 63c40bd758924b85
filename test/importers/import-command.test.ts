import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ATTR_CALLER, ATTR_IMPORT_COUNTS, SPAN_IMPORT } from '../../otel/semconv.ts'
import { EXIT } from '../../src/cli/output.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { type Ended, type Running, runCli } from '../cli/run-cli.ts'
import { afterwards } from '../support/clean-up.ts'
import { providersOf } from '../support/gateway-world.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { recordedSpans } from '../support/recorded-spans.ts'
import { SourceFolder } from './source-folder.ts'

const AGENT = '.openclaw/agents/main/agent'
/** Everything secret, and everybody's address, in the samples and in what is written below. */
const CANARIES = /eyJ|(?<!sta)rt_|sk-|ort01|oat01|ya29|1\/\/0|sample-signature|somebody|acct-sample|canary/

function start(folder: SourceFolder, parameters: readonly string[], environment: Record<string, string> = {}): Running {
  const command = runCli(parameters, { environment: { HOME: folder.home, ...environment } })
  afterwards(() => command.child.kill('SIGKILL'))
  return command
}

function importing(folder: SourceFolder, ...parameters: string[]): Promise<Ended> {
  return start(folder, ['profiles', 'import', ...parameters]).ended
}

async function storedIn(state: string) {
  const store = fileStore(state)
  try {
    return await store.list()
  } finally {
    await store.close()
  }
}

describe('gatewatch profiles import', () => {
  it('shows what would come, warns about the owner, and changes nothing in a dry run', async () => {
    const folder = new SourceFolder()
    folder.put('codex/chatgpt.json', '.codex/auth.json')
    folder.remember()
    const { code, stdout } = await importing(folder, '--from', 'codex', '--dry-run', '--state', folder.path('state'))
    expect(stdout).toMatch(/openai-codex:codex-cli\s+oauth\s+\d+ d\s+0\s+[0-9a-f]{12}\s+needs owner/)
    expect(stdout).toContain('CODEX_REFRESH_TOKEN_URL_OVERRIDE=http://127.0.0.1:8089/oauth/openai-codex/token')
    expect(stdout).toContain('Nothing was stored (--dry-run).')
    expect(code).toBe(EXIT.dead)
    expect(folder.changes()).toEqual([])
  })

  it('shows the token URL with the place of a key where the gateway has keys, and no key (B1)', async () => {
    const folder = new SourceFolder()
    folder.put('codex/chatgpt.json', '.codex/auth.json')
    const config = folder.write('gatewatch.json', { listen: { port: 9000, keysEnv: 'GATEWAY_KEYS' } })
    const environment = { GATEWAY_KEYS: 'canary-key-0123456789' }
    const { stdout } = await start(folder, ['profiles', 'import', '--from', 'codex', '--dry-run', '--config', config], environment).ended
    expect(stdout).toContain('CODEX_REFRESH_TOKEN_URL_OVERRIDE=http://127.0.0.1:9000/oauth/openai-codex/token/<key>')
    expect(stdout).toContain('one of the keys in GATEWAY_KEYS')
    expect(stdout).not.toMatch(CANARIES)
  })

  // Seen: CODEX_REFRESH_TOKEN_URL_OVERRIDE=http://127.0.0.1:0/..., an address at which nothing can listen. Issue "1 of 6".
  it('shows a place for the port where the settings leave it to the system', async () => {
    const folder = new SourceFolder()
    folder.put('codex/chatgpt.json', '.codex/auth.json')
    const config = folder.write('gatewatch.json', { listen: { port: 0 } })
    const { stdout } = await importing(folder, '--from', 'codex', '--dry-run', '--config', config)
    expect(stdout).toContain('CODEX_REFRESH_TOKEN_URL_OVERRIDE=http://127.0.0.1:<port>/oauth/openai-codex/token')
    expect(stdout).toContain('<port>: listen.port is 0')
    expect(stdout).not.toContain(':0/')
  })

  it('stores what may come, ends with 2 for what was left out, and the recorder knows of it', async () => {
    const folder = new SourceFolder()
    folder.put('openclaw', AGENT)
    const state = folder.path('state')
    const { code, stdout } = await importing(folder, '--from', 'openclaw', '--state', state, '--json')
    expect(code).toBe(EXIT.warning)
    expect(JSON.parse(stdout)).toMatchObject({
      source: 'openclaw',
      dryRun: false,
      profiles: [
        { profile: 'openai-codex:af865a03', outcome: 'needs_owner', rotates: true, generation: 0 },
        { profile: 'openai:default', outcome: 'imported', type: 'api_key' },
        { profile: 'anthropic:setup', outcome: 'imported', type: 'token' },
        { profile: 'anthropic:claude-cli', outcome: 'needs_owner' },
        { profile: 'openrouter:default', outcome: 'unusable' },
        { profile: 'openai:env', outcome: 'unusable' },
      ],
    })
    expect((await storedIn(state)).map(({ id }) => id)).toEqual(['openai:default', 'anthropic:setup'])
    expect(recordedImports(state)).toMatchObject([{ [ATTR_IMPORT_COUNTS.imported]: 2, [ATTR_CALLER]: 'gatewatch profiles import' }])
  })

  it('stores nothing of a damaged file, and names file, key, type and what is allowed', async () => {
    const folder = new SourceFolder()
    const path = folder.write('.codex/auth.json', { tokens: { access_token: 7 } })
    const { code, stderr } = await importing(folder, '--from', 'codex', '--state', folder.path('state'))
    expect(stderr).toContain(`${path}: tokens.access_token is a number; allowed is a string`)
    expect(code).toBe(EXIT.dead)
    expect(await storedIn(folder.path('state'))).toEqual([])
  })

  it('wants to know where profiles go', async () => {
    const folder = new SourceFolder()
    folder.put('codex/api-key.json', '.codex/auth.json')
    const { code, stderr } = await importing(folder, '--from', 'codex', '--config', folder.path('nowhere.json'))
    expect(stderr).toContain('nowhere.json: cannot be read')
    expect(code).toBe(EXIT.usage)
  })

  it('shows no token, key, account or address, whatever it reads', async () => {
    const otlp = await startOtlpReceiver()
    afterwards(() => otlp.stop())
    const folder = new SourceFolder()
    folder.put('openclaw', AGENT)
    folder.put('codex/chatgpt.json', '.codex/auth.json')
    folder.put('claude/credentials.json', '.claude/.credentials.json')
    folder.put('gemini', '.gemini')
    folder.write('odd/auth-profiles.json', {
      profiles: {
        'other:canary@canary.example': { type: 'api_key', provider: 'canary Provider', key: 'canary-key-0001' },
        'openai:canary': { type: 'canary', provider: 'openai' },
        'openai:ref': { type: 'api_key', provider: 'openai', keyRef: { source: 'file', id: '/canary/key' } },
        'openai-codex:a': { type: 'oauth', provider: 'openai-codex', oauthRef: { id: 'canary' } },
      },
      order: { openai: ['openai:canary'] },
    })
    folder.write('damaged/auth-profiles.json', '{"profiles":{"openai:canary":{"key":"canary-cut-off')
    const state = folder.path('state')
    const said: string[] = []
    for (const parameters of [
      ['openclaw', '--dry-run'],
      ['openclaw', '--take-ownership'],
      ['openclaw', '--take-ownership', '--path', folder.path('odd')],
      ['openclaw', '--json', '--path', folder.path('odd')],
      ['openclaw', '--path', folder.path('damaged')],
      ['openclaw', '--profile', 'openai:missing'],
      ['codex', '--take-ownership', '--json'],
      ['claude', '--take-ownership', '--json'],
      ['gemini', '--json'],
    ]) {
      const run = start(folder, ['profiles', 'import', '--state', state, '--from', ...parameters], {
        OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
      })
      const { stdout, stderr } = await run.ended
      said.push(stdout, stderr)
    }
    const exported = otlp.spans().filter(({ name }) => name === SPAN_IMPORT)
    const recorded = readdirSync(state).filter(name => name.startsWith('events'))
    expect(exported).toHaveLength(9)
    expect(recorded.length).toBeGreaterThan(0)
    // That one is a name, and plain; the canaries are the rest.
    const everything = [...said, JSON.stringify(exported), ...recorded.map(name => readFileSync(join(state, name), 'latin1'))]
    for (const text of everything) expect(text.replaceAll('openai:canary', '')).not.toMatch(CANARIES)
  }, 120_000)
})

describe('a profile that was imported from OpenClaw', () => {
  it('serves a call, and is refreshed through the gate', async () => {
    const simulator = await startSimulator()
    afterwards(() => simulator.stop())
    const { access, refresh, account } = simulator.grantFor({ provider: 'openai-codex', account: 'acct-1', firstAccessLifeMs: -60_000 })
    const folder = new SourceFolder()
    const login = { type: 'oauth', provider: 'openai', access, refresh, expires: Date.now() - 60_000, accountId: account }
    folder
      .database(`${AGENT}/openclaw-agent.sqlite`, { auth_profile_store: { version: 1, profiles: { 'openai:me@example.com': login } } })
      .close()
    const config = folder.write('gatewatch.json', { listen: { port: 0 }, providers: providersOf(simulator) })
    const { code } = await importing(folder, '--from', 'openclaw', '--config', config, '--take-ownership')
    expect(code).toBe(EXIT.good)

    const server = start(folder, ['serve', '--config', config])
    const [, url = ''] = await server.until(/listens on (http:\/\/127\.0\.0\.1:\d+)/)
    const answer = await fetch(`${url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'gpt-5.5', input: 'hello', store: false }),
    })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-gatewatch-profile')).toMatch(/^openai-codex:[0-9a-f]{8}$/)
    expect(simulator.counts().tokenRequests.total).toBe(1)
    server.child.kill('SIGTERM')
    await server.ended
    expect(await storedIn(folder.path('gatewatch-state'))).toMatchObject([{ credential: { generation: 1, account: 'acct-1' } }])
  })
})

function recordedImports(state: string): unknown[] {
  const spans = recordedSpans(state)
  return spans.filter(({ name }) => name === SPAN_IMPORT).map(({ attributes }) => attributes)
}
