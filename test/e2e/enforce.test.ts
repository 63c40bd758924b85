import { describe, expect, it } from 'vitest'
import { ATTR_CALLER, ATTR_POLICY, ATTR_VIA, SPAN_REFRESH } from '../../otel/semconv.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { codexLogin, gatewayWorld } from '../support/gateway-world.ts'

const EXPIRED = { firstAccessLifeMs: -1000 }

describe('a gateway that enforces its gate', () => {
  it('keeps a refresh behind its back from being sent, and refreshes itself as ever', async () => {
    const w = await gatewayWorld({ gate: { bypass: 'enforce' }, stored: simulator => [codexLogin(simulator, 'me', EXPIRED)] })
    async function quickPlugin() {
      const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'rt_somebodys' })
      await fetch(w.simulator.url + TOKEN_PATHS.openai, { method: 'POST', body })
    }
    await expect(quickPlugin()).rejects.toMatchObject({ cause: { code: 'GATEWATCH_BYPASS' } })
    expect(w.simulator.tokenRequests()).toEqual([])
    expect((await w.spanned(SPAN_REFRESH)).attributes).toMatchObject({
      [ATTR_VIA]: 'bypass',
      [ATTR_POLICY]: 'enforce',
      [ATTR_CALLER]: 'test/e2e/enforce.test.ts#quickPlugin',
    })
    expect((await w.responses()).status).toBe(200)
    expect(w.simulator.tokenRequests()).toMatchObject([{ outcome: 'rotated' }])
  })

  it('lets through what another caller’s refresh sends within the gate that was put around it', async () => {
    const w = await gatewayWorld({ gate: { bypass: 'enforce' } })
    const { refresh } = w.simulator.grantFor({ provider: 'openai-codex', account: 'acct-1' })
    const tokenUrl = w.simulator.url + TOKEN_PATHS.plain
    async function refreshTheToken(profile: string) {
      const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh })
      const answer = await fetch(tokenUrl, { method: 'POST', body })
      return { profile, status: answer.status }
    }
    const gated = w.watch.wrapRefresh(refreshTheToken, {
      provider: 'acme',
      tokenUrl,
      profile: profile => profile,
      reason: () => 'expired',
    })
    expect(await gated('acme:me')).toEqual({ profile: 'acme:me', status: 200 })
    await expect(refreshTheToken('acme:me')).rejects.toMatchObject({ cause: { code: 'GATEWATCH_BYPASS' } })
    expect(w.simulator.tokenRequests()).toHaveLength(1)
  })
})
