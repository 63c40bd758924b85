import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Diagnosis } from '../../src/diagnose/diagnose.ts'
import { SCENARIOS } from '../../src/simulator/scenarios/scenarios.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { runCli } from '../cli/run-cli.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { codexLogin, gatewayWorld } from '../support/gateway-world.ts'
import { SOURCE_MAIN } from '../support/own-programs.ts'

describe('gatewatch simulate', () => {
  it('lists what can be played, one line each', async () => {
    const { code, stdout } = await runCli(['simulate', '--list']).ended
    expect(code).toBe(0)
    expect(stdout.trim().split('\n')).toHaveLength(SCENARIOS.length)
    for (const { name } of SCENARIOS) expect(stdout).toMatch(new RegExp(`\\d ${name}: .*`))
    expect(stdout).toContain('openclaw/openclaw#82069')
  })

  it('plays a scenario into a state folder, which diagnose then reads', async () => {
    const state = stateFolder()
    const played = await runCli(['simulate', '--scenario', 'gate-bypass', '--state', state], { main: SOURCE_MAIN }).ended
    expect(played.code).toBe(0)
    expect(played.stdout).toContain('CANNOT REFRESH  A token request past the gate has used up the refresh token of the gate')
    expect(played.stdout).toContain(`gatewatch diagnose --state ${state}`)
    const asked = await runCli(['diagnose', '--state', state]).ended
    expect(asked).toMatchObject({ code: 1, stderr: '' })
    expect(asked.stdout).toMatch(/callers +1 x src\/simulator\/scenarios\/application\/quick-plugin\.ts:\d+ refreshOnItsOwn via bypass/)
    expect(asked.stdout).toMatch(/hypothesis 2 +SUPPORTED/)
    expect(asked.stdout.split('\n').filter(line => line.length > 100)).toEqual([])
    const json = await runCli(['diagnose', '--state', state, '--json', '--profile', 'openai-codex:work']).ended
    const { findings } = JSON.parse(json.stdout) as Diagnosis
    expect(findings[0]).toMatchObject({ kind: 'gate_bypassed', profiles: ['openai-codex:work'] })
    expect(await runCli(['diagnose', '--state', state, '--profile', 'openai-codex:other']).ended).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Nothing to report.'),
    })
    expect(await runCli(['diagnose', '--from', join(state, 'events.sqlite'), '--since', '1h']).ended).toMatchObject({ code: 1 })
  }, 120_000)

  it('sets up the provider alone, until it is asked to end', async () => {
    const running = runCli(['simulate', '--scenario', 'fresh-login-rejected', '--provider-only', '--json'])
    afterwards(() => running.child.kill('SIGKILL'))
    const [line] = await running.until(/^\{.*\}$/m)
    const { tokenUrl, loginFile } = JSON.parse(line) as { tokenUrl: string; loginFile: string }
    const { refresh } = JSON.parse(readFileSync(loginFile, 'utf8')) as { refresh: string }
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh })
    expect(await (await fetch(tokenUrl, { method: 'POST', body })).json()).toMatchObject({ error: { code: 'refresh_token_invalidated' } })
    running.child.kill('SIGINT')
    const { code, stdout } = await running.ended
    expect(code).toBe(0)
    expect(existsSync(loginFile)).toBe(false)
    expect(stdout).not.toContain(refresh)
  })

  it.each([
    [['simulate'], /name a scenario/],
    [['simulate', '--scenario', 'nothing-like-it'], /no scenario "nothing-like-it"/],
    [['diagnose', '--since', 'yesterday'], /must be a number and a unit/],
    [['diagnose', '--from', 'a', '--url', 'http://127.0.0.1:1'], /give one of them/],
    [['diagnose', '--url', 'nowhere'], /must be an http or https URL/],
  ])('refuses what it does not understand: %j', async (parameters, message) => {
    const { code, stderr } = await runCli(parameters).ended
    expect(code).toBe(64)
    expect(stderr).toMatch(message)
  })
})

describe('gatewatch diagnose', () => {
  it('asks a running gateway for what it holds in memory', async () => {
    const { url, simulator, responses } = await gatewayWorld({
      stored: world => [codexLogin(world, 'acct-asked', { firstAccessLifeMs: -1_000 })],
    })
    simulator.expireGrant('acct-asked')
    expect((await responses()).status).toBeGreaterThanOrEqual(400)
    const { code, stdout } = await runCli(['diagnose', '--url', url, '--since', '1h']).ended
    expect(code).toBe(1)
    expect(stdout).toContain('CANNOT REFRESH  The login has expired')
  })

  it('reports that no gateway answers, and that nothing was recorded', async () => {
    expect(await runCli(['diagnose', '--url', 'http://127.0.0.1:1']).ended).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('no gateway answers'),
    })
    expect(await runCli(['diagnose', '--state', stateFolder()]).ended).toMatchObject({
      code: 64,
      stderr: expect.stringContaining('nothing has been recorded in'),
    })
    const { code, stderr } = await runCli(['diagnose', '--from', givenFile('a diary'), '--json']).ended
    expect(code).toBe(64)
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'GW_CONFIG', next: 'fix_configuration' } })
  })
})

function givenFile(content: string): string {
  const path = `${stateFolder()}.txt`
  writeFileSync(path, content)
  return path
}

describe('gatewatch serve --state', () => {
  it('keeps what it saw beside what watched processes saw, for diagnose to read together', async () => {
    const simulator = await startSimulator()
    afterwards(() => simulator.stop())
    simulator.addApiKey('sk-simulated-serve-0001', { provider: 'openai' })
    const state = stateFolder()
    const config = givenFile(
      JSON.stringify({
        listen: { port: 0 },
        state: `${state}-profiles`,
        providers: { openai: { baseUrl: `${simulator.url}/v1` } },
        profiles: { 'openai:default': { provider: 'openai', apiKeyEnv: 'SIMULATED_KEY' } },
      }),
    )
    const environment = { SIMULATED_KEY: 'sk-simulated-serve-0001' }
    const serving = runCli(['serve', '--config', config, '--state', state], { environment })
    afterwards(() => serving.child.kill('SIGKILL'))
    const [, url = ''] = await serving.until(/listens on (http:\S+)/)
    const body = JSON.stringify({ model: 'gpt-5.5', messages: [{ role: 'user', content: 'hello' }] })
    const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    expect(answer.status).toBe(200)
    await answer.text()
    serving.child.kill('SIGINT')
    expect(await serving.ended).toMatchObject({ code: 0 })
    const { stdout, code } = await runCli(['diagnose', '--state', state, '--json']).ended
    expect({ code, diagnosis: JSON.parse(stdout) }).toMatchObject({
      code: 0,
      diagnosis: { findings: [], checked: { processes: 1, counts: { calls: 1, attempts: 1 }, profiles: ['openai:default'] } },
    })
  })
})
