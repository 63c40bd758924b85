// The registry of secrets held 5,000 texts and forgot the oldest: a configured key stood in telemetry after 5,001 other
// tokens. And a key that is a common word blanked every name that holds it. Configured keys stay hidden for as long as the
// process runs; a word is hidden only where it is the whole text, and never in a configured name (issue 1, point B4).
import { describe, expect, it } from 'vitest'
import { gatewayWorld, OPENAI_KEY } from '../support/gateway-world.ts'

const PROVIDER_KEY = 'k7!vexing_9#q2'
const GATEWAY_KEY = 'inbound!vexing_9#q2'

describe('a configured key', () => {
  it('is still hidden after thousands of other tokens', async () => {
    const w = await gatewayWorld({
      profiles: { 'openai:default': { provider: 'openai', apiKeyEnv: 'PROVIDER_KEY' } },
      listen: { keysEnv: 'GATEWAY_KEYS' },
      environment: { PROVIDER_KEY, GATEWAY_KEYS: GATEWAY_KEY },
    })
    w.simulator.addApiKey(PROVIDER_KEY, { provider: 'openai', account: 'key' })
    const refresh = w.watch.wrapRefresh(async (token: string) => token, {
      provider: 'anthropic',
      profile: () => 'anthropic:me',
      rejectedToken: token => token,
    })
    for (let count = 0; count <= 5_001; count += 1) await refresh(`token-${count.toString(36)}-7f3a9c1e5b2d84`)
    const headers = { 'x-api-key': GATEWAY_KEY }
    for (const key of [PROVIDER_KEY, GATEWAY_KEY]) {
      const named = { ...headers, 'x-gatewatch-caller': `by ${key}`, 'user-agent': key }
      expect((await w.chat({ model: `model-${key}` }, named)).status).toBe(200)
    }
    const pages = ['/metrics', '/ops/data/status', '/ops/data/counts', '/ops/data/calls?window=all']
    const shown = (await Promise.all(pages.map(async page => (await w.ask(page, { headers })).text))).join('\n')
    const rows = JSON.stringify(w.spans())
    expect(shown).toContain('model-[secret]')
    for (const key of [PROVIDER_KEY, GATEWAY_KEY]) expect(shown + rows).not.toContain(key)
  })

  it('that is the word of a local server leaves the names that hold it', async () => {
    const w = await gatewayWorld({
      providers: ({ url }) => ({ 'lm-studio': { baseUrl: `${url}/v1` }, openai: { baseUrl: `${url}/v1` } }),
      profiles: {
        'lm-studio:default': { provider: 'lm-studio', apiKeyEnv: 'LM_KEY' },
        'openai:default': { provider: 'openai', apiKeyEnv: 'OPENAI_KEY' },
      },
      environment: { LM_KEY: 'lm-studio', OPENAI_KEY },
    })
    w.simulator.addApiKey('lm-studio', { provider: 'openai', account: 'local' })
    const { status, headers } = await w.chat({ model: 'lm-studio/lm-studio-qwen3' })
    expect([status, headers.get('x-gatewatch-profile')]).toEqual([200, 'lm-studio:default'])
    expect((await w.ask('/ops/data/status')).json.profiles).toMatchObject([{ profile: 'lm-studio:default', provider: 'lm-studio' }, {}])
    const span = await w.spanned('chat lm-studio-qwen3')
    expect(span.attributes).toMatchObject({ 'gatewatch.provider': 'lm-studio', 'gatewatch.profile': 'lm-studio:default' })
    expect(await w.series('attemptDuration')).toMatchObject([
      { labels: { provider: 'lm-studio', profile: 'lm-studio:default', model: 'lm-studio-qwen3' } },
    ])
  })
})
