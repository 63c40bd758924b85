import { type DiagLogger, diag } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import { ATTR_PROFILE, ATTR_REASON, SPAN_ACQUIRE } from '../../otel/semconv.ts'
import type { RefreshReason } from '../../src/domain/enums.ts'
import { type Gatewatch, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { afterwards } from '../support/clean-up.ts'
import { observed } from '../support/gateway-world.ts'

// Seen: an option's callback that throws made the wrapped function reject; the `profile` of a wrapped login threw into its caller
// synchronously; what a callback of another type returned was used as it came. Why: each wrapper called them bare. Fix: one
// guard for all of them, and the wrapped function runs as if it were not wrapped. Issue "1 of 6", point A5.

const SECRET = 'callback-canary-0123456789'
const TOKEN_URL = 'https://auth.test/oauth/token'

/** What an application may get wrong in a callback, and the type that is reported. */
const FAULTS: [string, () => never, string][] = [
  [
    'throws',
    () => {
      throw new RangeError(SECRET)
    },
    'RangeError',
  ],
  [
    'throws what is no error',
    () => {
      throw SECRET
    },
    'string',
  ],
  ['returns an object', () => ({ id: SECRET }) as never, 'TypeError'],
  ['is asynchronous and rejects', () => Promise.reject(new Error(SECRET)) as never, 'TypeError'],
]

interface Wrapped {
  /** The option, as the report names it. */
  readonly option: string
  readonly wrap: (
    watch: Gatewatch,
    send: (...parameters: [string]) => Promise<string>,
    fails: () => never,
  ) => (text: string) => Promise<string>
}

const around = { provider: 'acme', tokenUrl: TOKEN_URL, profile: () => 'acme:me' }
const WRAPPED: readonly Wrapped[] = [
  { option: 'wrapRefresh.profile', wrap: (watch, send, profile) => watch.wrapRefresh(send, { ...around, profile }) },
  { option: 'wrapRefresh.reason', wrap: (watch, send, reason) => watch.wrapRefresh(send, { ...around, reason }) },
  { option: 'wrapRefresh.rejectedToken', wrap: (watch, send, rejectedToken) => watch.wrapRefresh(send, { ...around, rejectedToken }) },
  {
    option: 'wrapRefresh.accessToken',
    wrap: (watch, send, accessToken) => watch.wrapRefresh(send, { ...around, rejectedToken: text => text, accessToken }),
  },
  { option: 'wrapCall.profile', wrap: (watch, send, profile) => watch.wrapCall(send, { provider: 'acme', profile }) },
  { option: 'wrapCall.model', wrap: (watch, send, model) => watch.wrapCall(send, { provider: 'acme', model }) },
  {
    option: "wrapOperation('login').profile",
    wrap: (watch, send, profile) => watch.wrapOperation('login', send, { provider: 'acme', profile }),
  },
  {
    option: "wrapOperation('exchange').profile",
    wrap: (watch, send, profile) => watch.wrapOperation('exchange', send, { provider: 'acme', profile }),
  },
  {
    option: "wrapOperation('revoke').profile",
    wrap: (watch, send, profile) => watch.wrapOperation('revoke', send, { provider: 'acme', profile }),
  },
]

/** A Gatewatch with what it reports: to `onError`, and to the log of OpenTelemetry. */
async function world(onError?: (fault: unknown) => void) {
  const faults: unknown[] = []
  const places: unknown[] = []
  const log: string[] = []
  const line = (...parts: unknown[]) => void log.push(parts.join(' '))
  const logger: DiagLogger = { error: line, warn: line, info: line, debug: line, verbose: line }
  diag.setLogger(logger, { suppressOverrideMessage: true })
  afterwards(() => diag.disable())
  const noted = (fault: unknown, place?: string) => {
    faults.push(fault)
    places.push(place)
  }
  const watch = await startGatewatch({ environment: {}, onError: onError ?? noted })
  afterwards(() => watch.close())
  return { watch, faults, places, log, ...observed(watch) }
}

describe.each(WRAPPED)('the option $option', ({ option, wrap }) => {
  it.each(FAULTS)('that %s leaves the wrapped function unchanged, and is reported once', async (_what, fails, type) => {
    const w = await world()
    const seen: unknown[] = []
    const error = new Error('its own')
    const wrapped = wrap(
      w.watch,
      async function (this: unknown, text) {
        seen.push(text)
        if (text === 'bad') throw error
        return `${text} done`
      },
      fails,
    )
    expect([await wrapped('one'), await wrapped('two')]).toEqual(['one done', 'two done'])
    await expect(wrapped('bad')).rejects.toBe(error)
    expect(seen).toEqual(['one', 'two', 'bad'])
    expect(w.faults).toHaveLength(1)
    expect(w.places).toEqual([`the option ${option}`])
    expect(w.log).toEqual([`gatewatch: the option ${option} failed (${type}); the application is not affected`])
    expect(JSON.stringify(w.spans()) + (await w.watch.metrics()).body).not.toContain(SECRET)
  })
})

describe('a refresh whose profile or reason cannot be read', () => {
  it('shares no refresh with others, and says so little about itself', async () => {
    const w = await world()
    const answers: ((token: string) => void)[] = []
    const refresh = w.watch.wrapRefresh(() => new Promise<string>(resolve => answers.push(resolve)), {
      ...around,
      profile: () => {
        throw new Error(SECRET)
      },
      reason: () => 'because' as RefreshReason,
    })
    const both = [refresh(), refresh()]
    expect(answers).toHaveLength(2)
    for (const [index, answer] of answers.entries()) answer(`token ${index}`)
    expect(await Promise.all(both)).toEqual(['token 0', 'token 1'])
    expect(w.spans(SPAN_ACQUIRE).map(({ attributes }) => [attributes[ATTR_PROFILE], attributes[ATTR_REASON]])).toEqual([
      ['unknown', 'unknown'],
      ['unknown', 'unknown'],
    ])
  })
})

describe('onError', () => {
  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('a fault of its own')
      },
    ],
    ['rejects', () => Promise.reject(new Error('a fault of its own'))],
  ])('that %s itself harms nothing', async (_what, onError) => {
    const w = await world(onError as () => void)
    const send = w.watch.wrapCall(async () => 'done', { provider: 'acme', model: FAULTS[0]?.[1] as () => string })
    expect(await send()).toBe('done')
    expect(w.log).toHaveLength(1)
  })
})

describe('a result that cannot be looked at', () => {
  it('of a provider call reaches its caller', async () => {
    const w = await world()
    const result = {
      get status(): number {
        throw new Error('not yet')
      },
    }
    const send = w.watch.wrapCall(async () => result, { provider: 'acme' })
    expect(await send()).toBe(result)
    expect(w.faults).toHaveLength(1)
    expect(w.spans().map(({ name }) => name)).toEqual(['chat unknown'])
  })
})

// Seen: the second Gatewatch of a process warned "Gatewatch has a fault (GatewayError)". Why: without `onError` every report had
// that one text, and only the first was written. Fix: what an operator can mend is written in full, once for each text.
it('a second Gatewatch of a process warns of itself, and what to change', async () => {
  const warnings: string[] = []
  const listen = ({ name, message }: Error) => void (name === 'GatewatchWarning' && warnings.push(message))
  process.on('warning', listen)
  afterwards(() => process.off('warning', listen))
  const first = await startGatewatch({ environment: {} })
  afterwards(() => first.close())
  const second = await startGatewatch({ environment: {} })
  afterwards(() => second.close())
  await expect
    .poll(() => warnings)
    .toEqual([expect.stringMatching(/^Gatewatch: another Gatewatch runs in this process .*Create one for a process/)])
})
