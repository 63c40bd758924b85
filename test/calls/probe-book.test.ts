import { describe, expect, it } from 'vitest'
import { PROBE_OUTCOMES } from '../../otel/words.ts'
import { PROBE_BOOK_DEFAULTS, ProbeBook } from '../../src/calls/probe-book.ts'
import { failsByCredential, VERDICTS } from '../../src/calls/probe-verdict.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { TestClock } from '../support/test-clock.ts'

const ID = 'openai-codex:me'
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
    diverges: () => book.lastOf(ID)?.diverges,
  }
}

describe('the book of probes', () => {
  it('knows nothing of a profile that was not probed, whatever its calls met', () => {
    const { book } = world()
    book.attempted(ID, 'auth')
    expect(book.lastOf(ID)).toBeUndefined()
  })

  it('says how long ago the last probe was', () => {
    const { book, clock } = world()
    book.probed(ID, 'ok')
    clock.advance(61_400)
    expect(book.lastOf(ID)).toEqual({ outcome: 'ok', ageSeconds: 61, diverges: false })
  })

  it('sees no divergence where nobody has called', () => {
    const { book, diverges } = world()
    for (const outcome of PROBE_OUTCOMES) {
      book.probed(ID, outcome)
      expect(diverges(), outcome).toBe(false)
    }
  })

  it('sees one in no pair but a good side and a side whose credential fails', () => {
    for (const probe of PROBE_OUTCOMES) {
      const { book, diverges } = world()
      book.probed(ID, probe)
      book.attempted(ID, 'ok')
      expect(diverges(), `probe ${probe}, calls ok`).toBe(failsByCredential(probe))
      book.attempted(ID, 'auth')
      expect(diverges(), `probe ${probe}, calls auth`).toBe(VERDICTS[probe] === 'good')
      book.attempted(ID, 'server_error')
      expect(diverges(), `probe ${probe}, calls server_error`).toBe(false)
    }
  })

  it.each(['aborted', 'format', 'model_not_found'] as const)('lets a call that ended in %s take nothing back', outcome => {
    const { book, diverges } = world()
    book.probed(ID, 'ok')
    book.attempted(ID, 'billing')
    book.attempted(ID, outcome)
    expect(diverges()).toBe(true)
  })

  it('forgets a divergence when either side is older than the window', () => {
    for (const first of ['probe', 'call'] as const) {
      const { book, clock, diverges } = world()
      if (first === 'probe') book.probed(ID, 'ok')
      else book.attempted(ID, 'auth')
      clock.advance(windowMs)
      if (first === 'probe') book.attempted(ID, 'auth')
      else book.probed(ID, 'ok')
      expect(diverges(), first).toBe(true)
      clock.advance(1)
      expect(diverges(), first).toBe(false)
    }
  })

  it('holds a failure for the last word of the calls for as long as they leave the profile alone', () => {
    const { book, clock, rests, diverges } = world()
    book.attempted(ID, 'billing')
    rests(true)
    clock.advance(4 * windowMs)
    book.probed(ID, 'ok')
    expect(diverges()).toBe(true)
    rests(false)
    expect(diverges()).toBe(false)
  })

  it('lets the last probe count until the next one where probes are rare', () => {
    const everyMs = 2 * windowMs
    const { book, clock, diverges } = world({ everyMs })
    book.probed(ID, 'ok')
    clock.advance(everyMs)
    book.attempted(ID, 'auth')
    expect(diverges()).toBe(true)
  })

  it('lets a visit that is admitted take back a refused one, but not what a provider said', () => {
    const { book, diverges } = world()
    const refused = new GatewayError('GW_REFRESH_FAILED', 'the token endpoint is down', { next: 'try_again_later', outcome: 'unavailable' })
    book.probed(ID, 'ok')
    book.visitFailed(ID, refused)
    expect(diverges()).toBe(true)
    book.visitAdmitted(ID)
    expect(diverges()).toBe(false)
    book.attempted(ID, 'auth')
    book.visitAdmitted(ID)
    expect(diverges()).toBe(true)
  })

  it.each(['GW_VISIT_ABORTED', 'GW_PROFILE_UNKNOWN', 'GW_STORE_UNREADABLE', 'GW_CLOSED'] as const)(
    'takes a visit that ended in %s for no word about the profile',
    code => {
      const { book, diverges } = world()
      book.probed(ID, 'ok')
      book.visitFailed(ID, new GatewayError(code, 'x', { next: 'nothing' }))
      book.visitFailed(ID, new TypeError('x'))
      expect(diverges()).toBe(false)
    },
  )
})
