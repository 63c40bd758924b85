import { describe, expect, it } from 'vitest'
import { errorType, GatewayError, isGatewayError } from '../../src/domain/gateway-error.ts'

describe('an error of Gatewatch', () => {
  it('carries its code, what to do next, when to try again and what was caught', () => {
    const cause = new Error('no space left')
    const error = new GatewayError('GW_STORE_UNWRITABLE', 'cannot write', { next: 'free_disk_space', cause, retryAfterMs: 10 })
    expect(error).toMatchObject({ name: 'GatewayError', code: 'GW_STORE_UNWRITABLE', next: 'free_disk_space', retryAfterMs: 10, cause })
  })

  it('has no cause at all where none was given', () => {
    expect('cause' in new GatewayError('GW_CONFIG', 'x', { next: 'nothing' })).toBe(false)
  })

  it('is known by its codes', () => {
    const error = new GatewayError('GW_CONFIG', 'x', { next: 'nothing' })
    expect(isGatewayError(error)).toBe(true)
    expect(isGatewayError(error, 'GW_CLOSED', 'GW_CONFIG')).toBe(true)
    expect(isGatewayError(error, 'GW_CLOSED')).toBe(false)
    expect(isGatewayError(new Error('GW_CONFIG'))).toBe(false)
  })
})

describe('the type of an error', () => {
  const coded = (code: unknown) => Object.assign(new Error('text with a secret'), { code })

  it.each<[string, unknown, string]>([
    ['an error of ours', new GatewayError('GW_CLOSED', 'x', { next: 'nothing' }), 'GW_CLOSED'],
    ['a system error', coded('ECONNRESET'), 'ECONNRESET'],
    ['an error of undici', coded('UND_ERR_HEADERS_TIMEOUT'), 'UND_ERR_HEADERS_TIMEOUT'],
    ['a DOM exception, whose code is a number', new DOMException('x', 'AbortError'), 'AbortError'],
    ['an error whose code is a sentence', coded('Your key sk-secret is wrong'), 'Error'],
    ['an error whose code has no bounds', coded(`E${'X'.repeat(60)}`), 'Error'],
    ['an error with a class of its own', new RangeError('x'), 'RangeError'],
    ['a thrown string', 'sk-secret', 'string'],
    ['nothing', undefined, 'undefined'],
    ['null', null, 'object'],
  ])('of %s says what it is and never its text', (_what, error, expected) => {
    expect(errorType(error)).toBe(expected)
  })
})
