import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { redactText } from '../../src/telemetry/redaction-patterns.ts'
import { registerSecret } from '../../src/tools/secret-registry.ts'
import { CANARIES } from './canaries.ts'

describe('what is secret', () => {
  it.each(CANARIES)('$what is replaced', ({ text, mark }) => {
    expect(redactText(text)).not.toContain(mark)
    expect(redactText(`before ${text} after`)).not.toContain(mark)
  })

  it('keeps what stands around a secret, so that the text still says something', () => {
    expect(redactText('POST https://user:pass@proxy.example/oauth/token failed for me@example.com')).toBe(
      'POST https://[credentials]@proxy.example/oauth/token failed for [e-mail]',
    )
    expect(redactText('/callback?code=abcdef&scope=openid')).toBe('/callback?code=[secret]&scope=openid')
  })

  it('keeps the key in a URL of the token endpoint gate (B1)', () => {
    expect(redactText('POST http://127.0.0.1:8089/oauth/openai-codex/token/my-gateway-key failed')).toBe(
      'POST http://127.0.0.1:8089/oauth/openai-codex/token/[secret] failed',
    )
    for (const path of [
      '/oauth/google/token/refresh.ts:12:3',
      'src/oauth/google/token/refresh/index.ts',
      'POST /oauth/:provider/token/:key',
    ])
      expect(redactText(path)).toBe(path)
  })

  // Seen: `[token][secret]cdefghij...`. Why: the known part of a longer token was replaced first, and the pattern then ended before
  // the rest. Fix: the patterns run while a mark of a token's characters stands for what is known.
  it('is hidden as a whole where a part of it is a known secret', () => {
    registerSecret('known-9f8e7d')
    registerSecret('9f8e7d6c5b4a')
    expect(redactText('profile rt_9f8e7d6c5b4aabcdefghijklmnopqrstuvwxyz')).toBe('profile [token]')
    expect(redactText('9f8e7d6c5b4aabcdefgh and abcdefgh9f8e7d6c5b4a')).toBe('[secret] and [secret]')
    expect(redactText('Bearer 9f8e7d6c5b4aabcdefgh')).toBe('[authorization]')
    expect(redactText('of known-9f8e7d, and code=known-9f8e7d&scope=a')).toBe('of [secret], and code=[secret]&scope=a')
  })

  it('finds 32 random bytes in hex every time, in base64url hardly ever not', () => {
    const missed = (encoding: 'hex' | 'base64url') =>
      Array.from({ length: 1000 }, () => randomBytes(32).toString(encoding)).filter(text => !redactText(text).includes('[opaque]')).length
    expect(missed('hex')).toBe(0)
    expect(missed('base64url')).toBeLessThan(50)
  })

  it('gets through texts that are built to make patterns backtrack', () => {
    // So long that a pattern which tries from every character would take minutes.
    for (const piece of ['a-', '?token', '//', '"', '%40', 'a@', '1', 'eyJ', 'code', 'authorization', ' ']) {
      const text = piece.repeat(262_144 / piece.length)
      expect(redactText(text).length).toBeLessThanOrEqual(text.length)
    }
  })
})

describe('what is not', () => {
  it.each([
    'dist/store-CWpdPPTd.js',
    'openclaw/dist/auth-profiles-4FZ7QK2A.js#doRefreshOAuthTokenWithLock',
    'openclaw-gateway-provider-runtime-v2.js#refresh',
    'node_modules/.pnpm/@scope+pkg@1.0.0-beta.1_react@18.2.0/node_modules/x/index.js',
    'express@5.3.0/lib/router.js',
    'async refreshOpenAICodexTokenWithBackoffAndRetry (src/auth/refresh-token.ts:12:34)\nObject.<anonymous> (src/x.ts:1:2)',
    'claude-opus-4-20250514',
    'claude-3-5-sonnet-20241022',
    'gpt-5.5',
    'gpt-4o-mini-2024-07-18',
    'ft:gpt-4o-mini-2024-07-18:acme::AbCd1234',
    'meta-llama/Llama-3.3-70B-Instruct-Turbo-Free',
    'accounts/fireworks/models/llama-v3p1-405b-instruct',
    'arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0',
    'openai-codex:1a2b3c4d',
    'look-at-something-useful',
    'at-least-once-delivery',
    'refresh_token_reused',
    'POST /v1/chat/completions',
    'client_id:uuid grant_type:refresh_token refresh_token=undefined',
    'http://127.0.0.1:8080/a@b/c',
    'a%20b 100% done',
  ])('%s stays unchanged', text => {
    expect(redactText(text)).toBe(text)
  })
})
