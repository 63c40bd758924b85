import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { evidenceIn } from '../../src/diagnose/evidence-source.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { profileName } from '../../src/telemetry/profile-name.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { REGISTER } from '../support/own-programs.ts'
import { type Job, jwt, watched } from './watched.ts'
import { startServer } from './world.ts'

describe('an unmodified process under the preload', () => {
  it.each(['fetch', 'undici', 'http'] as const)('shows who refreshed through %s, by which way, with what request', async client => {
    const { job, simulator } = await world()
    const { code, stdout, stderr, refreshes, pid } = await watched(job({ client, steps: [['gate'], ['bypass']] }))
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '[200,200]\n', stderr: '' })
    expect(simulator.tokenRequests()).toHaveLength(2)
    expect(refreshes.map(({ via, outcome, status, provider }) => [via, outcome, status, provider])).toEqual([
      ['gate', 'rotated', 200, 'openai-codex'],
      ['bypass', 'rotated', 200, 'openai-codex'],
    ])
    const [throughGate, past] = refreshes
    expect(throughGate).toMatchObject({ pid, title: 'application.mjs', file: 'test/fixtures/watched/application.mjs', replay: false })
    expect(throughGate?.shape).toMatch(/^client_id=opaque:8 grant_type=refresh_token refresh_token=opaque:\d+$/)
    expect(throughGate?.fingerprintAfter).toBe(past?.fingerprintBefore)
    expect(past?.profile).toBe(throughGate?.profile)
    expect(past?.profile).toMatch(/^openai-codex:[0-9a-f]{8}$/)
    expect(throughGate?.stack).toContain('refreshUnderLock (test/fixtures/watched/application.mjs:')
    expect(past?.stack).not.toContain('refreshUnderLock')
    // Who came to the gate is its caller, not the code that sends for everybody; past it, that is all there is.
    expect(throughGate?.caller).toBe('test/fixtures/watched/application.mjs#<anonymous>')
    if (client !== 'http') expect(past?.caller).toBe('test/fixtures/watched/application.mjs#postToken')
  })

  it('knows the package of an installed command for the application, and what it is built on for libraries', async () => {
    const { job } = await world()
    const packages = join(stateFolder(), 'node_modules')
    const write = (name: string, file: string, text: string) => {
      mkdirSync(join(packages, name), { recursive: true })
      writeFileSync(join(packages, name, 'package.json'), JSON.stringify({ name, type: 'module', exports: `./${file}` }))
      writeFileSync(join(packages, name, file), text)
    }
    const send = "export async function send(url, body) { return await (await fetch(url, { method: 'POST', body })).text() }"
    write('auth-sdk', 'send.js', send)
    const body = "new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'another-token' })"
    const command = `import { send } from 'auth-sdk'
      async function agentTurn() { return await send(JSON.parse(process.argv[2]).url, ${body}) }
      await agentTurn()`
    write('an-agent', 'cli.js', command)
    const { refreshes, stderr } = await watched(job({ steps: [] }), { application: join(packages, 'an-agent', 'cli.js') })
    expect(stderr).toBe('')
    expect(refreshes).toMatchObject([{ caller: 'an-agent/cli.js#agentTurn' }])
  })

  it('calls nothing a bypass while no gate is declared', async () => {
    const { job } = await world()
    const { refreshes, spans } = await watched(job({ steps: [['gate'], ['bypass']] }), { settings: { gate: [] } })
    expect(refreshes.map(({ via }) => via)).toEqual(['undeclared', 'undeclared'])
    expect(spans.flatMap(({ events }) => events)).toEqual([])
  })

  describe('infers why', () => {
    it.each([
      ['expired', -1],
      ['expiring', 300],
      ['forced', 86_400],
    ])('%s, by the expiry in the token itself, %i s from now', async (reason, leftS) => {
      const { url } = await startServer()
      const access = jwt({ exp: Math.round(Date.now() / 1000) + leftS, sub: 'acct-4711' })
      const job: Job = { url: `${url}/token`, api: `${url}/api`, tokens: { access, refresh: 'rt-0815-4711' }, steps: [['call'], ['gate']] }
      const { stdout, refreshes } = await watched(job)
      expect(stdout).toBe('[200,200]\n')
      expect(refreshes).toMatchObject([{ reason, outcome: 'renewed' }])
    })

    it('the provider had rejected it', async () => {
      const { job, simulator } = await world()
      simulator.expireAccess('acct-watched')
      const { stdout, refreshes } = await watched(job({ steps: [['call'], ['gate'], ['call']] }))
      expect(stdout).toMatch(/^\[401,200,200\]/)
      expect(refreshes).toMatchObject([{ reason: 'rejected' }])
    })

    it('nothing: the token was still good, the refresh was forced', async () => {
      const { job } = await world()
      const { refreshes } = await watched(job({ steps: [['call'], ['gate']] }))
      expect(refreshes).toMatchObject([{ reason: 'forced' }])
    })

    it('the credential holds no token at all, and the request says so in one line', async () => {
      const { job } = await world()
      const { refreshes } = await watched(job({ steps: [['bypass', 'undefined']] }))
      expect(refreshes).toMatchObject([
        { reason: 'missing', outcome: 'malformed', status: 401, providerCode: 'token_expired', via: 'bypass' },
      ])
      expect(refreshes[0]?.shape).toContain('refresh_token=literal:undefined')
    })

    it('the provider was called without a token before', async () => {
      const { job } = await world()
      const { refreshes } = await watched(job({ steps: [['call', 'undefined'], ['gate']] }))
      expect(refreshes).toMatchObject([{ reason: 'missing', outcome: 'rotated' }])
    })

    it('expired, of a token it has never seen, from the file in which the application keeps it; by the name it has there', async () => {
      const { job, refresh, access } = await world()
      const folder = stateFolder()
      mkdirSync(join(folder, 'agents/main'), { recursive: true })
      const credential = { type: 'oauth', provider: 'openai-codex', access, refresh, expires: Date.now() - 60_000 }
      const profiles = { 'openai:other': { access: 'x', refresh: 'y', expires: 1 }, 'openai-codex:me@example.com': credential }
      writeFileSync(join(folder, 'agents/main/auth-profiles.json'), JSON.stringify({ version: 1, profiles }))
      const settings = { credentials: [join(folder, 'agents/*/auth-profiles.json')] }
      const { refreshes } = await watched(job({ steps: [['gate']] }), { settings })
      expect(refreshes).toMatchObject([{ reason: 'expired', profile: profileName('openai-codex:me@example.com') }])
    })

    it.each([
      ['expired, where the file keeps only the expiry, and of one profile of that provider', ['openai-codex:me@example.com'], 'expired'],
      ['unknown, where it may be one of two', ['openai-codex:me@example.com', 'openai-codex:other'], 'unknown'],
    ])('%s', async (_what, names, reason) => {
      const { job } = await world()
      const folder = stateFolder()
      mkdirSync(folder, { recursive: true })
      const file = join(folder, 'auth-profiles.json')
      const profiles = names.map((name, index) => [
        name,
        { type: 'oauth', provider: 'openai-codex', expires: Date.now() - 60_000 * (index + 1) },
      ])
      const others = { 'openai:default': { provider: 'openai', expires: 1 } }
      writeFileSync(file, JSON.stringify({ version: 1, profiles: { ...others, ...Object.fromEntries(profiles) } }))
      const { refreshes } = await watched(job({ steps: [['gate']] }), { settings: { credentials: [file] } })
      expect(refreshes).toMatchObject([{ reason, ...(reason === 'expired' && { profile: profileName('openai-codex:me@example.com') }) }])
    })

    it('unknown, when it has seen no access token', async () => {
      const { job } = await world()
      const { refreshes } = await watched(job({ steps: [['gate']] }))
      expect(refreshes).toMatchObject([{ reason: 'unknown' }])
    })
  })

  it('shows a replay, and three at once as one rotation and replays', async () => {
    const { job, refresh } = await world()
    const one = await watched(job({ steps: [['gate'], ['bypass', refresh]] }))
    expect(one.refreshes.map(({ replay, outcome }) => [replay, outcome])).toEqual([
      [false, 'rotated'],
      [true, 'invalidated'],
    ])
    expect(one.refreshes[1]?.fingerprintBefore).toBe(one.refreshes[0]?.fingerprintBefore)
  })

  it('shows a replay of what another process has rotated away, by the word of the provider', async () => {
    const { job } = await world()
    const first = await watched(job({ steps: [['gate']] }))
    const second = await watched(job({ steps: [['gate']] }))
    expect([first, second].map(({ refreshes }) => refreshes.map(({ replay }) => replay))).toEqual([[false], [true]])
  })

  it('shows three refreshes at once as one rotation and replays of its token', async () => {
    const { job, simulator } = await world()
    const { refreshes, stderr } = await watched(job({ steps: [['together']] }))
    expect(stderr).toBe('')
    expect(simulator.tokenRequests()).toHaveLength(3)
    expect(new Set(refreshes.map(({ fingerprintBefore }) => fingerprintBefore)).size).toBe(1)
    expect(refreshes.filter(({ outcome }) => outcome === 'rotated')).toHaveLength(1)
    expect(refreshes.filter(({ replay }) => replay)).toHaveLength(2)
  })

  // Seen: of three refreshes at once the refused one was answered before the one that names the account.
  it('is diagnosed as one login past its gate, though its account is known with the second answer only', async () => {
    const account = { 'https://api.openai.com/auth': { chatgpt_account_id: 'acct-late' } }
    const granted = {
      access_token: jwt({ ...account, exp: Math.floor(Date.now() / 1000) + 3_600 }),
      refresh_token: 'next',
      expires_in: 3_600,
    }
    const { url, received } = await startServer(response =>
      response
        .writeHead(received.length === 2 ? 200 : 401, { 'content-type': 'application/json' })
        .end(JSON.stringify(received.length === 2 ? granted : { error: { code: 'refresh_token_reused' } })),
    )
    const steps = ['used', 'used', 'used'].map(token => ['bypass', token] as const)
    const { stdout, refreshes, state } = await watched({ url, tokens: { refresh: 'used' }, steps })
    expect(stdout).toBe('[401,200,401]\n')
    expect(new Set(refreshes.map(({ profile }) => profile)).size).toBe(2)
    const { findings } = diagnose(evidenceIn(state))
    expect(findings.map(({ kind, profiles, callers }) => [kind, profiles, callers.map(({ count, via }) => [count, via])])).toEqual([
      ['gate_bypassed', [refreshes[1]?.profile], [[3, ['bypass']]]],
    ])
  })

  it('shows the calls to providers: token, outcome, caller, time to the first chunk', async () => {
    const { job } = await world()
    const { spans, pid } = await watched(job({ steps: [['call']] }))
    expect(pid).toBeGreaterThan(0)
    expect(spans).toHaveLength(1)
    expect(spans[0]).toMatchObject({ kind: 'client', status: 'unset', name: 'chat gpt-5.5' })
    expect(Object.values(spans[0]?.attributes ?? {})).toEqual(
      expect.arrayContaining(['openai-codex', 'responses', 'ok', 200, 'test/fixtures/watched/application.mjs#callModel']),
    )
  })

  it.each(['worker', 'fork', 'spawn'] as const)('is watched with its children: %s', async kind => {
    const { job } = await world()
    const { code, stderr, refreshes, pid } = await watched(job({ steps: [['gate'], [kind]] }))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(refreshes.map(({ via }) => via)).toEqual(['gate', 'bypass'])
    expect(refreshes[0]?.pid).toBe(pid)
    if (kind === 'worker') expect(refreshes[1]?.pid).toBe(pid)
    else expect(refreshes[1]?.pid).not.toBe(pid)
  })

  it('loses nothing when the application exits right after the answer', async () => {
    const { job } = await world()
    const { code, refreshes } = await watched(job({ steps: [['gate'], ['exit', 3]] }))
    expect(code).toBe(3)
    expect(refreshes).toMatchObject([{ outcome: 'rotated', via: 'gate' }])
  })

  it('says lost of a token request whose answer the application did not wait for', async () => {
    const { job } = await world()
    const { code, refreshes } = await watched(job({ steps: [['exitRightAfter', 4]] }))
    expect(code).toBe(4)
    // Of a body that was not read before the end it is not known whether it asks for a refresh (issue 1, point A1).
    expect(refreshes).toMatchObject([{ outcome: 'lost', via: 'uncertain', uncertainty: 'grant_unknown' }])
    expect(refreshes[0]?.stack).toContain('exitRightAfter')
  })

  it('that sends nothing leaves no trace, not even a folder', async () => {
    const { job } = await world()
    const { code, state } = await watched(job({ steps: [['wait', 1]] }))
    expect(code).toBe(0)
    expect(existsSync(state)).toBe(false)
  })

  it('goes on unwatched, with one line, when the settings cannot be used', async () => {
    const { job } = await world()
    const { code, stdout, stderr, state } = await watched(job({ steps: [['gate'], ['bypass']] }), { settings: { sate: 'x' } })
    expect({ code, stdout }).toEqual({ code: 0, stdout: '[200,200]\n' })
    expect(stderr).toMatch(/^gatewatch: not watching this process: GATEWATCH_WATCH: sate is not known; [^\n]+\n$/)
    expect(existsSync(state)).toBe(false)
  })

  it('goes on unwatched, with one line, when what it sees cannot be recorded', async () => {
    const { job } = await world()
    const { code, stdout, stderr } = await watched(job({ steps: [['gate'], ['bypass']] }), { state: '/dev/null/state' })
    expect({ code, stdout }).toEqual({ code: 0, stdout: '[200,200]\n' })
    expect(stderr).toMatch(/^gatewatch: [^\n]+\n$/)
  })

  it('goes on unwatched, with one line, after a fault of the watch', async () => {
    const { job } = await world()
    // What the watch reads at every request throws: its own listener fails.
    const sabotage = `--import=data:text/javascript,${encodeURIComponent(
      "globalThis[Symbol.for('opentelemetry.js.api.1')] = { get context() { throw new Error('sk-proj-secret of the host') } }",
    )}`
    const environment = watchedEnvironment(sabotage)
    const { code, stdout, stderr, refreshes } = await watched(job({ steps: [['gate'], ['bypass']] }), { environment })
    expect({ code, stdout }).toEqual({ code: 0, stdout: '[200,200]\n' })
    expect(stderr).toBe('gatewatch: this process is no longer watched: Error\n')
    expect(refreshes).toEqual([])
  })

  it('keeps to the state folder it was given', async () => {
    const { job } = await world()
    const state = stateFolder()
    const { refreshes } = await watched(job({ steps: [['gate']] }), { state })
    expect(refreshes).toHaveLength(1)
  })
})

function watchedEnvironment(option: string): Record<string, string> {
  return { NODE_OPTIONS: `${option} --import=${REGISTER}` }
}

/** A provider, a login at it, and jobs for an application that uses them. */
async function world({ firstAccessLifeMs }: { firstAccessLifeMs?: number } = {}) {
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  const { access, refresh } = simulator.grantFor({
    provider: 'openai-codex',
    account: 'acct-watched',
    ...(firstAccessLifeMs !== undefined && { firstAccessLifeMs }),
  })
  const base: Omit<Job, 'steps'> = {
    url: simulator.url + TOKEN_PATHS.openai,
    api: `${simulator.url}/backend-api`,
    tokens: { access, refresh },
  }
  return { simulator, access, refresh, job: (rest: Pick<Job, 'steps'> & Partial<Job>): Job => ({ ...base, ...rest }) }
}
