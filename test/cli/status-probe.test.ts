import { describe, expect, it } from 'vitest'
import { SPAN_PROBE } from '../../otel/semconv.ts'
import { EXIT } from '../../src/cli/output.ts'
import { codexLogin, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { runCli } from './run-cli.ts'

const LISTING = '/backend-api/codex/models'

const loginAlone = (life: { firstAccessLifeMs?: number } = {}) => gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', life)] })

const status = (url: string, ...more: string[]) => runCli(['status', '--url', url, ...more]).ended

describe('gatewatch status --probe', () => {
  it('has the running gateway probe, shows what it found and ends with 0 when all is good', async () => {
    const w = await loginAlone()
    const { code, stdout } = await status(w.url, '--probe')
    expect(stdout).toMatch(/openai-codex:me\s+oauth\s+subscription\s+ready\s.*probed \d+ s ago: ok/)
    expect(code).toBe(EXIT.good)
    expect(w.spans(SPAN_PROBE)).toHaveLength(1)
  })

  it('says it as JSON with --json', async () => {
    const w = await loginAlone()
    const { stdout } = await status(w.url, '--probe', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      probes: [{ profile: 'openai-codex:me', outcome: 'ok', verdict: 'good', diverges: false }],
      profiles: [{ state: 'ready', probe: { outcome: 'ok' } }],
    })
  })

  it('ends with 1 when a profile is dead', async () => {
    const w = await loginAlone({ firstAccessLifeMs: -1000 })
    w.simulator.expireGrant('me')
    const { code, stdout } = await status(w.url, '--probe')
    expect(stdout).toContain('needs_login')
    expect(code).toBe(EXIT.dead)
  })

  it('ends with 1 when the provider rejects a token that looks good', async () => {
    const w = await loginAlone()
    w.simulator.inject({ where: LISTING, name: 'token_invalidated_401' })
    const { code, stdout } = await status(w.url, '--probe')
    expect(stdout).toMatch(/ready\s.*probed \d+ s ago: auth_permanent/)
    expect(code).toBe(EXIT.dead)
  })

  it('ends with 1 when a login is configured and not there', async () => {
    const w = await gatewayWorld({ profiles: { 'openai-codex:work': { provider: 'openai-codex' } } })
    const { code, stdout } = await status(w.url, '--probe')
    expect(stdout).toContain('missing_credential')
    expect(code).toBe(EXIT.dead)
  })

  it('ends with 2 when probe and calls disagree, and from then on without --probe too', async () => {
    const w = await loginAlone()
    await w.responses()
    w.simulator.inject({ where: LISTING, name: 'token_expired_401' })
    const { code, stdout } = await status(w.url, '--probe')
    expect(stdout).toMatch(/probed \d+ s ago: auth, calls say otherwise/)
    expect(code).toBe(EXIT.warning)
    expect((await status(w.url)).code).toBe(EXIT.warning)
  })

  it('ends with 2 when the provider is in trouble, and when the token is about to expire and no other is to be had', async () => {
    const down = await gatewayWorld({ profiles: OPENAI_PROFILE })
    down.simulator.inject({ where: 'provider', name: 'server_error_500' })
    expect((await status(down.url, '--probe')).code).toBe(EXIT.warning)
    const expiring = await loginAlone({ firstAccessLifeMs: 60_000 })
    expiring.simulator.inject({ where: 'token', name: 'unavailable_503' })
    expect((await status(expiring.url, '--probe')).code).toBe(EXIT.warning)
  })

  it('ends with 3 where no gateway answers', async () => {
    const { code, stderr } = await status('http://127.0.0.1:9', '--probe')
    expect(stderr).toContain('no gateway answers at http://127.0.0.1:9')
    expect(code).toBe(EXIT.unreachable)
  })
})

describe('gatewatch status', () => {
  it('probes nothing unless an option asks for it', async () => {
    const w = await loginAlone()
    expect((await status(w.url)).code).toBe(EXIT.good)
    expect(w.spans(SPAN_PROBE)).toEqual([])
  })
})
