import { describe, expect, it } from 'vitest'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import type { BufferedResponse } from '../../src/http-clients/buffered-response.ts'
import { agedAnswer } from '../../src/token-requests/token-response.ts'
import { type AskedRefresh, InflightRefreshes } from '../../src/watch/inflight-refreshes.ts'
import { TestClock } from '../support/test-clock.ts'

const WINDOW_MS = 600_000

function world({ windowMs = WINDOW_MS } = {}) {
  const clock = new TestClock()
  const refreshes = new InflightRefreshes({ windowMs, clock })
  /** Has a token exchanged for another. */
  const rotate = (from: string, answer: BufferedResponse) => {
    const turn = refreshes.ask(asked(from))
    if (turn.decision !== 'lead') throw new Error(`is no lead but ${turn.decision}`)
    turn.inflight.settle({ answer })
  }
  /** What a caller with a token gets: a decision, and what the answer holds. */
  const get = (token: string, rest = 'same') => {
    const turn = refreshes.ask(asked(token, rest))
    return 'answer' in turn ? { decision: turn.decision, ...JSON.parse(turn.answer.body.toString()) } : { decision: turn.decision }
  }
  return { clock, refreshes, rotate, get }
}

describe('a refresh', () => {
  it('of a token that is just being refreshed joins, and lands where the other does', async () => {
    const { refreshes } = world()
    const lead = refreshes.ask(asked('rt-1'))
    const join = refreshes.ask(asked('rt-1'))
    if (lead.decision !== 'lead' || join.decision !== 'join') throw new Error('no caller joined')
    const landing = { answer: granted('rt-2') }
    lead.inflight.settle(landing)
    expect(await join.inflight.settled).toBe(landing)
  })

  it.each([
    ['another token', asked('rt-other')],
    ['another client or scope', asked('rt-1', 'other')],
    ['another URL', { ...asked('rt-1'), url: 'https://other.example/token' }],
  ])('of %s is none of the same', (_what, other) => {
    const { refreshes } = world()
    refreshes.ask(asked('rt-1'))
    expect(refreshes.ask(other).decision).toBe('lead')
  })

  it('of a token that was rotated gets what came of it, and what came of that', () => {
    const { rotate, get } = world()
    rotate('rt-1', granted('rt-2'))
    expect(get('rt-1')).toMatchObject({ decision: 'reuse', refresh_token: 'rt-2' })
    rotate('rt-2', granted('rt-3'))
    rotate('rt-3', granted('rt-4'))
    expect(get('rt-1')).toMatchObject({ decision: 'adopt', refresh_token: 'rt-4' })
    expect(get('rt-3')).toMatchObject({ decision: 'reuse', refresh_token: 'rt-4' })
    expect(get('rt-4')).toEqual({ decision: 'lead' })
  })

  it('gets an expiry that counts from now, never none', () => {
    const { clock, rotate, get } = world()
    rotate('rt-1', granted('rt-2', { expires_in: 300 }))
    clock.advance(100_000)
    expect(get('rt-1')).toMatchObject({ expires_in: 200 })
    clock.advance(400_000)
    expect(get('rt-1')).toMatchObject({ expires_in: 1 })
  })

  it('is sent again after the window', () => {
    const { clock, refreshes, rotate, get } = world()
    rotate('rt-1', granted('rt-2'))
    clock.advance(WINDOW_MS - 1)
    expect(get('rt-1').decision).toBe('reuse')
    clock.advance(1)
    expect(get('rt-1').decision).toBe('lead')
    expect(refreshes.keptBytes).toBe(0)
  })

  it.each<[string, BufferedResponse]>([
    ['a refusal', { ...granted('rt-2'), status: 400 }],
    ['an answer that leaves the token as it was', granted('rt-1')],
    ['an answer without a refresh token', granted(undefined)],
    ['an unreadable answer', { ...granted('rt-2'), body: Buffer.from('<html>') }],
    ['an answer longer than any token', granted('rt-2', { filler: 'x'.repeat(70_000) })],
  ])('is sent again after %s', (_what, answer) => {
    const { refreshes, rotate, get } = world()
    rotate('rt-1', answer)
    expect(get('rt-1').decision).toBe('lead')
    expect(refreshes.keptBytes).toBe(0)
  })

  it('is sent again after one that failed, or could not be shared', () => {
    const { refreshes } = world()
    for (const landing of [{ error: new Error('reset') }, 'send_independently'] as const) {
      const turn = refreshes.ask(asked('rt-1'))
      if (turn.decision === 'lead') turn.inflight.settle(landing)
      expect(turn.decision).toBe('lead')
    }
  })

  it('is only shared in flight where the window is none', () => {
    const { rotate, get } = world({ windowMs: 0 })
    rotate('rt-1', granted('rt-2'))
    expect(get('rt-1').decision).toBe('lead')
  })
})

describe('what is kept', () => {
  it('is bounded, the oldest goes first', () => {
    const { refreshes, rotate, get } = world()
    for (let index = 0; index < 100; index += 1) rotate(`rt-${index}`, granted(`next-${index}`, { filler: 'x'.repeat(50_000) }))
    expect(refreshes.keptBytes).toBeLessThanOrEqual(1024 * 1024)
    expect(get('rt-0').decision).toBe('lead')
    expect(get('rt-99').decision).toBe('reuse')
  })

  it('is freed when its time is over, though no caller asks', async () => {
    const clock = new TestClock()
    const refreshes = new InflightRefreshes({ windowMs: 5, clock })
    const turn = refreshes.ask(asked('rt-1'))
    if (turn.decision === 'lead') turn.inflight.settle({ answer: granted('rt-2') })
    expect(refreshes.keptBytes).toBeGreaterThan(0)
    clock.advance(5)
    await expect.poll(() => refreshes.keptBytes).toBe(0)
  })

  it('is no longer there when it is cleared', () => {
    const { refreshes, rotate, get } = world()
    rotate('rt-1', granted('rt-2'))
    refreshes.clear()
    expect(get('rt-1').decision).toBe('lead')
  })
})

describe('an answer that is given later', () => {
  it('has headers that fit its body', () => {
    const headers = [
      ['Content-Type', 'application/json'],
      ['Content-Length', '4711'],
      ['ETag', '"one"'],
    ] as const
    const aged = agedAnswer({ ...granted('rt-2'), headers }, 10_000)
    expect(aged.headers).toEqual([
      ['Content-Type', 'application/json'],
      ['content-length', String(aged.body.byteLength)],
    ])
  })

  it('is as it came where it says nothing of a time', () => {
    const answer = granted('rt-2', { expires_in: undefined })
    expect(agedAnswer(answer, 10_000)).toBe(answer)
  })
})

function asked(token: string, rest = 'same'): AskedRefresh {
  return { url: 'https://auth.example/token', refresh: fingerprint(token) ?? '', rest }
}

function granted(refresh: string | undefined, more: object = {}): BufferedResponse {
  const body = Buffer.from(JSON.stringify({ access_token: 'at', refresh_token: refresh, expires_in: 3600, ...more }))
  return { status: 200, statusText: 'OK', headers: [['content-type', 'application/json']], body }
}
