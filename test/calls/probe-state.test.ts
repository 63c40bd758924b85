import { describe, expect, it } from 'vitest'
import { PROBE_OUTCOMES } from '../../otel/enums.ts'
import { PROBE_BOOK_DEFAULTS, ProbeBook } from '../../src/calls/probe-state.ts'
import { failsByCredential, VERDICTS } from '../../src/calls/probe-verdict.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { TestClock } from '../support/test-clock.ts'

const ME: StoredProfile = {
  id: 'openai-codex:me',
  provider: 'openai-codex',
  credential: { type: 'oauth', access: 'at', refresh: 'rt', generation: 0 },
}
const { windowMs } = PROBE_BOOK_DEFAULTS

function world(options: { everyMs?: number } = {}) {
  const clock = new TestClock()
  let resting = false
  const book = new ProbeBook({ clock, isResting: () => resting, ...options })
  return {
    clock,
    book,
    rests: (is: boolean) => {
      resting = is
    },
    diverges: () => book.lastOf(ME)?.diverges,
  }
}

describe('the book of probes', () => {
  it('knows nothing of a profile that was not probed, whatever its calls met', () => {
    const { book } = world()
    book.attempted(ME, 'auth')
    expect(book.lastOf(ME)).toBeUndefined()
  })

  it('says how long ago the last probe was', () => {
    const { book, clock } = world()
    book.probed(ME, 'ok')
    clock.advance(61_400)
    expect(book.lastOf(ME)).toEqual({ outcome: 'ok', ageSeconds: 61, diverges: false })
  })

  it('sees no divergence where nobody has called', () => {
    const { book, diverges } = world()
    for (const outcome of PROBE_OUTCOMES) {
      book.probed(ME, outcome)
      expect(diverges(), outcome).toBe(false)
    }
  })

  it('sees one in no pair but a good side and a side whose credential fails', () => {
    for (const probe of PROBE_OUTCOMES) {
      const { book, diverges } = world()
      book.probed(ME, probe)
      book.attempted(ME, 'ok')
      expect(diverges(), `probe ${probe}, calls ok`).toBe(failsByCredential(probe))
      book.attempted(ME, 'auth')
      expect(diverges(), `probe ${probe}, calls auth`).toBe(VERDICTS[probe] === 'good')
      book.attempted(ME, 'server_error')
      expect(diverges(), `probe ${probe}, calls server_error`).toBe(false)
    }
  })

  it.each(['aborted', 'format', 'model_not_found'] as const)('lets a call that ended in %s take nothing back', outcome => {
    const { book, diverges } = world()
    book.probed(ME, 'ok')
    book.attempted(ME, 'billing')
    book.attempted(ME, outcome)
    expect(diverges()).toBe(true)
  })

  it('forgets a divergence when either side is older than the window', () => {
    for (const first of ['probe', 'call'] as const) {
      const { book, clock, diverges } = world()
      if (first === 'probe') book.probed(ME, 'ok')
      else book.attempted(ME, 'auth')
      clock.advance(windowMs)
      if (first === 'probe') book.attempted(ME, 'auth')
      else book.probed(ME, 'ok')
      expect(diverges(), first).toBe(true)
      clock.advance(1)
      expect(diverges(), first).toBe(false)
    }
  })

  it('holds a failure for the last word of the calls for as long as they leave the profile alone', () => {
    const { book, clock, rests, diverges } = world()
    book.attempted(ME, 'billing')
    rests(true)
    clock.advance(4 * windowMs)
    book.probed(ME, 'ok')
    expect(diverges()).toBe(true)
    rests(false)
    expect(diverges()).toBe(false)
  })

  it('lets the last probe count until the next one where probes are rare', () => {
    const everyMs = 2 * windowMs
    const { book, clock, diverges } = world({ everyMs })
    book.probed(ME, 'ok')
    clock.advance(everyMs)
    book.attempted(ME, 'auth')
    expect(diverges()).toBe(true)
  })

  it('lets a visit that is admitted take back a refused one, but not what a provider said', () => {
    const { book, diverges } = world()
    const refused = new GatewayError('GW_REFRESH_FAILED', 'the token endpoint is down', { next: 'try_again_later', outcome: 'unavailable' })
    book.probed(ME, 'ok')
    book.visitFailed(ME, refused)
    expect(diverges()).toBe(true)
    book.visitAdmitted(ME.id)
    expect(diverges()).toBe(false)
    book.attempted(ME, 'auth')
    book.visitAdmitted(ME.id)
    expect(diverges()).toBe(true)
  })

  it.each(['GW_VISIT_ABORTED', 'GW_PROFILE_UNKNOWN', 'GW_STORE_UNREADABLE', 'GW_CLOSED'] as const)(
    'takes a visit that ended in %s for no word about the profile',
    code => {
      const { book, diverges } = world()
      book.probed(ME, 'ok')
      book.visitFailed(ME, new GatewayError(code, 'x', { next: 'nothing' }))
      book.visitFailed(ME, new TypeError('x'))
      expect(diverges()).toBe(false)
    },
  )
})
