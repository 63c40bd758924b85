import { describe, expect, it } from 'vitest'
import {
  ATTR_BILLING,
  ATTR_OPERATION_OUTCOME,
  ATTR_PROFILE,
  EVENT_BILLING_CHANGED,
  EVENT_FALLBACK,
  EVENT_SKIPPED,
  SPAN_CALL,
  SPAN_LOGIN,
} from '../../otel/semconv.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { atTheEnd, observed } from '../support/gateway-world.ts'

const MOVE = { from: 'codex:work', to: 'openai:key', reason: 'rate_limit' } as const
const SECRET = 'notes-canary-0123456789'

async function world() {
  const faults: unknown[] = []
  const watch = await startGatewatch({ environment: {}, onError: fault => faults.push(fault) })
  atTheEnd(() => watch.close())
  const messages = () => faults.map(fault => (fault as Error).message)
  return { watch, faults, messages, ...observed(watch) }
}

describe('a note within a wrapped call', () => {
  it('is a step of that call, which is one of the other profile from then on', async () => {
    const w = await world()
    const ask = async () => {
      await null
      w.watch.noteFallback({ ...MOVE, billingChanged: true })
      w.watch.noteCooldown({ profile: MOVE.from, reason: 'rate_limit', durationMs: 1_000 })
      return { status: 200 }
    }
    await w.watch.wrapCall(ask, { provider: 'codex', profile: MOVE.from })()
    const [span] = w.spans('chat unknown')
    expect(span?.attributes).toMatchObject({ [ATTR_PROFILE]: MOVE.to, [ATTR_BILLING]: 'metered' })
    expect(span?.events.map(({ name }) => name)).toEqual([EVENT_FALLBACK, EVENT_BILLING_CHANGED, EVENT_SKIPPED])
    expect(w.spans(SPAN_CALL)).toEqual([])
    expect(await w.labels('attemptDuration')).toMatchObject([{ profile: MOVE.to, outcome: 'ok' }])
    expect(await w.labels('fallbacks')).toEqual([{ provider: 'codex', ...MOVE }])
  })

  it('comes to the outer call where the wrapped call of its profile is over', async () => {
    const w = await world()
    const send = w.watch.wrapCall(async (id: string) => ({ status: id === MOVE.from ? 429 : 200 }), {
      provider: 'codex',
      profile: id => id,
    })
    const chat = async () => {
      await send(MOVE.from)
      w.watch.noteFallback(MOVE)
      return send(MOVE.to)
    }
    await w.watch.wrapCall(chat, { provider: 'codex' })()
    const withStep = w.spans().filter(({ events }) => events.some(({ name }) => name === EVENT_FALLBACK))
    expect(withStep.map(({ name, attributes }) => [name, attributes[ATTR_PROFILE]])).toEqual([[SPAN_CALL, MOVE.to]])
    expect((await w.labels('attemptDuration')).map(({ profile, outcome }) => `${profile} ${outcome}`)).toEqual([
      'codex:work rate_limit',
      'openai:key ok',
    ])
    expect(await w.labels('billingChanges')).toEqual([])
  })

  it('of a login says how the wrapped operation ended', async () => {
    const w = await world()
    const signIn = async () => w.watch.noteLogin({ profile: 'codex:work', provider: 'codex', outcome: 'denied' })
    await w.watch.wrapOperation('login', signIn, { provider: 'codex' })()
    expect(w.spans(SPAN_LOGIN).map(({ attributes, status }) => [attributes[ATTR_OPERATION_OUTCOME], status])).toEqual([['denied', 'error']])
  })
})

describe('a note', () => {
  it('that cannot be used is reported once by its key, and records nothing', async () => {
    const w = await world()
    const bad = { ...MOVE, reason: SECRET } as never
    w.watch.noteFallback(bad)
    w.watch.noteFallback(bad)
    w.watch.noteFallback({ from: 7, to: '', reason: 'rate_limit' } as never)
    w.watch.noteFallback(undefined as never)
    w.watch.noteCooldown({ profile: 'codex:work', reason: 'rate_limit' })
    w.watch.noteCooldown({ profile: 'codex:work', reason: 'rate_limit', until: Number.NaN })
    w.watch.noteLogin({ profile: 'codex:work', provider: 'codex', method: 'telepathy' } as never)
    w.watch.noteLogout({ profile: 'codex:work' } as never)
    expect(w.faults).toEqual(w.faults.map(() => expect.objectContaining({ code: 'GW_CONFIG', next: 'fix_configuration' })))
    expect(w.messages()).toEqual([
      expect.stringMatching(/^noteFallback: reason is another text, allowed: ok, auth, /),
      'noteFallback: from is a value of type number, allowed: a string that is not empty',
      'noteFallback: to is a value of type string, allowed: a string that is not empty',
      expect.stringMatching(/^noteFallback: got missing, allowed: an object with from, to, reason, /),
      'noteCooldown: until and durationMs are missing, allowed: one of them',
      'noteCooldown: until is a value of type number, allowed: epoch milliseconds (not seconds) or a Date',
      'noteLogin: method is another text, allowed: browser, paste, device',
      'noteLogout: provider is missing, allowed: a string that is not empty',
    ])
    expect(w.messages().join()).not.toContain(SECRET)
    expect(w.spans()).toEqual([])
    expect(await w.watch.profiles()).toEqual([])
  })

  it('with a key that is unknown is used without it', async () => {
    const w = await world()
    w.watch.noteFallback({ ...MOVE, [SECRET]: 1, accessToken: SECRET } as never)
    expect(w.messages()).toEqual([expect.stringContaining('a key that is no plain word is an unknown key and is not read')])
    expect(await w.labels('fallbacks')).toEqual([{ provider: 'unknown', ...MOVE }])
  })

  it('with a getter that throws does not reach the application', async () => {
    const w = await world()
    const note = Object.defineProperty({ ...MOVE }, 'reason', {
      get: () => {
        throw new RangeError('x')
      },
    })
    expect(() => w.watch.noteFallback(note as never)).not.toThrow()
    expect(w.faults).toEqual([new RangeError('x')])
  })

  it('of an earlier end does not shorten a cooldown, and one of the past ends it', async () => {
    const w = await world()
    const cooldown = { profile: 'codex:work', provider: 'codex', reason: 'billing' } as const
    const until = new Date(Date.now() + 60_000)
    w.watch.noteCooldown({ ...cooldown, until })
    w.watch.noteCooldown({ ...cooldown, durationMs: 1_000 })
    expect(Math.abs(Date.parse((await w.watch.profiles())[0]?.restsUntil ?? '') - until.getTime())).toBeLessThan(1_000)
    w.watch.noteCooldown({ ...cooldown, durationMs: 0 })
    expect(await w.watch.profiles()).toMatchObject([{ state: 'ready', serves: true }])
  })
})
