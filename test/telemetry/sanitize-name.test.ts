import { describe, expect, it } from 'vitest'
import { ATTR_CALLER } from '../../otel/semconv.ts'
import { profileName } from '../../src/telemetry/profile-name.ts'
import { AttributeRedactor } from '../../src/telemetry/redaction-attributes.ts'
import { sanitizeName } from '../../src/telemetry/sanitize-name.ts'
import { registerSecret } from '../../src/tools/secret-registry.ts'

describe('a name from outside', () => {
  it.each([
    'gpt-5.5',
    'gpt-4o-mini-2024-07-18',
    'ft:gpt-4o-mini-2024-07-18:acme::AbCd1234',
    'claude-3-5-sonnet-20241022',
    'meta-llama/Llama-3.3-70B-Instruct-Turbo-Free',
    'accounts/fireworks/models/llama-v3p1-405b-instruct',
    'DeepSeek-R1-Distill-Qwen-32B',
    'Mistral-Small-3.2-24B-Instruct-2506',
    'us.anthropic.claude-sonnet-4-20250514-v1:0',
    'OpenAI/Python',
    'python-requests/2.32.3',
    'codex_cli_rs/0.50.0',
    'claude-cli/1.0.0',
    'team a / nightly job',
  ])('%s is shown', name => {
    expect(sanitizeName(name)).toBe(name)
  })

  it.each([
    'sT8mPw4ZkRx6NbQv',
    'gpt-5.5-Bm3QxKv9ZtLr5NwJ',
    '7c1e4b9a-52d8-4f36-a0e9-3b8d6c2f1a57',
    'sk-proj-Qb7xW2mKfT9zLr4HvN8cYd3J',
    'Bearer user@else.example',
    'https://user:me@else.example@host/v1',
    'me@else.example',
  ])('what is in %s is not', name => {
    expect(sanitizeName(name)).toMatch(/\[[a-z-]+\]/)
    expect(sanitizeName(name)).not.toMatch(/ZkRx6|3QxKv9|52d8-4f36|Qb7xW2|else/)
  })

  it('is not shown when it is a key in use, whatever it looks like; nor is the profile called by it', () => {
    const screen = new AttributeRedactor()
    const shown = () => [
      sanitizeName('model-marmaladejarlids'),
      profileName('acme:marmaladejarlids'),
      screen.attributes({ [ATTR_CALLER]: 'client:marmaladejarlids' }).attributes[ATTR_CALLER],
    ]
    expect(shown().slice(0, 1)).toEqual(['model-marmaladejarlids'])
    expect(shown()[2]).toBe('client:marmaladejarlids')
    registerSecret('marmaladejarlids')
    expect(sanitizeName('model-marmaladejarlids')).toBe('model-[secret]')
    expect(screen.attributes({ [ATTR_CALLER]: 'client:marmaladejarlids' }).attributes[ATTR_CALLER]).toBe('client:[secret]')
    registerSecret('quincejelly')
    expect(profileName('acme:quincejelly')).toMatch(/^acme:[0-9a-f]{8}$/)
  })
})
