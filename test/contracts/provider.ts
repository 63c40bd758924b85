import { describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import { ATTEMPT_OUTCOMES, BILLINGS, TOKEN_REQUEST_OUTCOMES } from '../../src/domain/enums.ts'
import { isGatewayError } from '../../src/domain/gateway-error.ts'
import type { Provider, RefusedAnswer } from '../../src/providers/provider.ts'

const SECRET = 'secret-4711-canary'

const WITH_SECRET: readonly Credential[] = [
  { type: 'api_key', key: SECRET },
  { type: 'token', token: SECRET },
  { type: 'oauth', access: SECRET, refresh: 'refresh-4711', generation: 0 },
]

const WITHOUT_SECRET: readonly Credential[] = [
  { type: 'api_key', key: '' },
  { type: 'token', token: ' ' },
  { type: 'oauth', refresh: 'refresh-4711', generation: 0 },
  { type: 'oauth', access: 'undefined', refresh: 'refresh-4711', generation: 0 },
]

const BODIES = [
  '',
  'null',
  '[]',
  '"text"',
  '{"error":null}',
  '{"error":"invalid_grant"}',
  '{"error":[1]}',
  '{"error":{"code":42,"message":{"a":1}}}',
  '{"detail":[{"msg":"x"}]}',
  '<!doctype html><title>Just a moment...</title>',
  '{"error":{"message":"cut off',
  `{"error":{"code":"${SECRET}","type":"${SECRET}","message":"${SECRET}"}}`,
]

const STATUSES = [302, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 418, 422, 429, 451, 500, 502, 503, 504, 520, 524, 529]

/** What holds for every provider, built in or configured. */
export function providerContract(name: string, provider: Provider): void {
  describe(`${name} keeps the provider contract`, () => {
    it('puts the secret into exactly one header, names in lower case', () => {
      for (const credential of WITH_SECRET) {
        const headers = provider.authorize(credential)
        expect(Object.keys(headers)).toEqual(Object.keys(headers).map(key => key.toLowerCase()))
        expect(Object.values(headers).filter(value => value.includes(SECRET))).toHaveLength(1)
        expect(JSON.stringify(headers)).not.toContain('refresh-4711')
      }
    })

    it('takes the line break off a secret that came from a file', () => {
      const headers = provider.authorize({ type: 'api_key', key: `${SECRET}\n` })
      expect(Object.values(headers).join()).not.toContain('\n')
    })

    it.each(WITHOUT_SECRET)('asks for a login when the credential has lost its secret: %o', credential => {
      expect(() => provider.authorize(credential)).toThrow(expect.objectContaining({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' }))
    })

    it('refuses a secret that would break the header, without showing it', () => {
      const thrown = catching(() => provider.authorize({ type: 'api_key', key: `${SECRET}\r\nx-evil: 1` }))
      expect(isGatewayError(thrown, 'GW_CONFIG')).toBe(true)
      expect(String(thrown)).not.toContain(SECRET)
    })

    it('judges whatever comes by words of the closed lists, without a word of its text', () => {
      for (const status of STATUSES) {
        for (const body of BODIES) {
          for (const headers of [{}, { 'content-type': 'text/html' }, { 'retry-after': 'soon' }] satisfies RefusedAnswer['headers'][]) {
            const attempt = provider.judgeAttempt({ status, headers, body })
            const refresh = provider.judgeRefresh({ status, headers, body })
            expect(ATTEMPT_OUTCOMES).toContain(attempt.outcome)
            expect(attempt.outcome).not.toBe('ok')
            expect(TOKEN_REQUEST_OUTCOMES).toContain(refresh.outcome)
            expect(['rotated', 'renewed', 'reused']).not.toContain(refresh.outcome)
            expect(JSON.stringify([attempt, refresh])).not.toContain(SECRET)
          }
        }
      }
    })

    it('says how every kind of credential pays and reads no account out of an opaque token', () => {
      for (const credential of WITH_SECRET) expect(BILLINGS).toContain(provider.billingOf(credential))
      expect(provider.accountOf('opaque')).toBeUndefined()
      expect(provider.accountOf('a.b.c')).toBeUndefined()
      expect(provider.accountOf('')).toBeUndefined()
    })

    it('has addresses that can be joined', () => {
      expect(provider.baseUrl).not.toMatch(/\/$/)
      for (const path of Object.values(provider.paths)) expect(new URL(provider.baseUrl + path).pathname).toContain(path)
    })
  })
}

function catching(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}
