// JSON under /ops and /metrics lacked nosniff and no-store, and escape sequences of a model's name stood in /metrics, which a
// terminal obeys. Every answer of our own says that it is not kept and not guessed at; control characters are replaced where
// a text is screened, in spans, metrics and pages alike (issue 1, point B5).
import { describe, expect, it } from 'vitest'
import { gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'

const PAGES = [
  '/healthz',
  '/readyz',
  '/metrics',
  '/ops/data/status',
  '/ops/data/counts',
  '/ops/data/refreshes',
  '/ops/data/bypasses',
  '/ops/data/findings',
  '/ops/runbook',
  '/ops/data/overview',
  '/ops/data/calls',
  '/ops/data/traces/x',
  '/ops/nothing',
  '/oauth/openai-codex/token',
  '/nothing',
]

describe('an answer of the gateway', () => {
  it.each(PAGES)('is neither kept nor guessed at: %s', async path => {
    const open = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const keyed = await gatewayWorld({
      profiles: OPENAI_PROFILE,
      listen: { keysEnv: 'GATEWAY_KEYS' },
      environment: { GATEWAY_KEYS: 'gw-key-0123456789-a' },
    })
    for (const w of [open, keyed]) {
      const { headers } = await w.ask(path)
      expect([headers.get('cache-control'), headers.get('x-content-type-options')]).toEqual(['no-store', 'nosniff'])
    }
  })

  it('holds no control character of a name that a client chose', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const model = 'gpt\u001b[2J\u0007\u009b31m\u202e-5.5\nINJECTED{x="1"} 1'
    await w.chat({ model })
    await w.chat({ model: `openai/${model}` })
    const pages = ['/metrics', '/ops/data/calls?window=all', '/ops/data/counts', '/ops/data/overview']
    const texts = await Promise.all([
      ...pages.map(async page => (await w.ask(page)).text),
      w.ask('/metrics', { headers: { accept: 'application/openmetrics-text' } }).then(({ text }) => text),
    ])
    texts.push(JSON.stringify(w.spans()))
    expect(texts.join('\n')).toContain('gpt\ufffd[2J\ufffd\ufffd31m\ufffd-5.5\ufffdINJECTED')
    // Lines are what separates series; JSON escapes what it holds.
    for (const text of texts) expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\\u00[01]|\\u009b|\u202e|\\n/u)
    for (const text of texts) expect(text).not.toMatch(/^INJECTED/m)
  })
})
