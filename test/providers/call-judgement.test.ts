import { describe, expect, it } from 'vitest'
import { judgeSeenCall, judgeThrown } from '../../src/providers/call-judgement.ts'

describe('a call of another client', () => {
  it('has its headers and body read only where it was refused', () => {
    const read: string[] = []
    const seen = (status: number) => ({
      status,
      get headers() {
        read.push('headers')
        return { 'content-type': 'application/json' }
      },
      get body() {
        read.push('body')
        return Buffer.from('{}')
      },
    })
    const judgeAttempt = () => ({ outcome: 'rate_limit' }) as const

    expect(judgeSeenCall(seen(200), judgeAttempt)).toEqual({ outcome: 'ok' })
    expect(read).toEqual([])
    expect(judgeSeenCall(seen(429), judgeAttempt)).toEqual({ outcome: 'rate_limit', failure: 'rate_limit' })
    expect(read).toEqual(['headers', 'body'])
  })
})

describe('what a wrapped call threw', () => {
  class APIUserAbortError extends Error {}
  class APIConnectionTimeoutError extends Error {}
  const coded = (code: string) => Object.assign(new Error('x'), { code })
  it.each<[string, unknown, object]>([
    ['axios that was cancelled', coded('ERR_CANCELED'), { outcome: 'aborted' }],
    ['an SDK whose caller left', new APIUserAbortError('Request was aborted.'), { outcome: 'aborted' }],
    ['undici whose caller left', coded('UND_ERR_ABORTED'), { outcome: 'aborted' }],
    [
      'the AI SDK, after retries',
      Object.assign(new Error('x'), { lastError: Object.assign(new Error('y'), { statusCode: 429 }) }),
      { outcome: 'rate_limit', status: 429, failure: 'rate_limit' },
    ],
    ['axios that waited too long', coded('ECONNABORTED'), { outcome: 'timeout', failure: 'timeout' }],
    ['undici without a head', coded('UND_ERR_HEADERS_TIMEOUT'), { outcome: 'timeout', failure: 'timeout' }],
    ['an SDK that waited too long', new APIConnectionTimeoutError('Request timed out.'), { outcome: 'timeout', failure: 'timeout' }],
    [
      'fetch without a connection',
      new TypeError('fetch failed', { cause: coded('ECONNREFUSED') }),
      { outcome: 'server_error', failure: 'ECONNREFUSED' },
    ],
    [
      'fetch that waited too long',
      new TypeError('fetch failed', { cause: coded('UND_ERR_CONNECT_TIMEOUT') }),
      { outcome: 'timeout', failure: 'timeout' },
    ],
  ])('%s', (_what, error, end) => {
    expect(judgeThrown(error)).toEqual(end)
  })
})
