import { describe, expect, it } from 'vitest'
import { judgeSeenCall } from '../../src/providers/call-judgement.ts'

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
