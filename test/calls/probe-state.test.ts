import { describe, expect, it } from 'vitest'
import { PROBE_STATE_DEFAULTS, ProbeState } from '../../src/calls/probe-state.ts'
import { failsByCredential, VERDICTS } from '../../src/calls/probe-verdict.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { PROBE_OUTCOMES } from '../../src/domain/enums.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { TestClock } from '../support/test-clock.ts'

const ME: StoredProfile = {
  id: 'openai-codex:me',
  provider: 'openai-codex',
  credential: { type: 'oauth', access: 'at', refresh: 'rt', generation: 0 },
}
const { windowMs } = PROBE_STATE_DEFAULTS

function world(options: { everyMs?: number } = {}) {
  const clock = new TestClock()
  let resting = false
  const probes = new ProbeState({ clock, isResting: () => resting, ...options })
  return {
    clock,
    probes,
    rests: (is: boolean) => {
      resting = is
    },
    diverges: () => probes.lastOf(ME)?.diverges,
  }
}

describe('the book of probes', () => {
  it('knows nothing of a profile that was not probed, whatever its calls met', () => {
    const { probes } = world()
    probes.attempted(ME, 'auth')
    expect(probes.lastOf(ME)).toBeUndefined()
  })

  it('says how long ago the last probe was', () => {
    const { probes, clock } = world()
    probes.probed(ME, 'ok')
    clock.advance(61_400)
    expect(probes.lastOf(ME)).toEqual({ outcome: 'ok', ageSeconds: 61, diverges: false })
  })

  it('sees no divergence where no call was made', () => {
    const { probes, diverges } = world()
    for (const outcome of PROBE_OUTCOMES) {
      probes.probed(ME, outcome)
      expect(diverges(), outcome).toBe(false)
    }
  })

  it('sees one in no pair but a good side and a side whose credential fails', () => {
    for (const probe of PROBE_OUTCOMES) {
      const { probes, diverges } = world()
      probes.probed(ME, probe)
      probes.attempted(ME, 'ok')
      expect(diverges(), `probe ${probe}, calls ok`).toBe(failsByCredential(probe))
      probes.attempted(ME, 'auth')
      expect(diverges(), `probe ${probe}, calls auth`).toBe(VERDICTS[probe] === 'good')
      probes.attempted(ME, 'server_error')
      expect(diverges(), `probe ${probe}, calls server_error`).toBe(false)
    }
  })

  it.each(['aborted', 'format', 'model_not_found'] as const)('lets a call that ended in %s take nothing back', outcome => {
    const { probes, diverges } = world()
    probes.probed(ME, 'ok')
    probes.attempted(ME, 'billing')
    probes.attempted(ME, outcome)
    expect(diverges()).toBe(true)
  })

  it('forgets a divergence when either side is older than the window', () => {
    for (const first of ['probe', 'call'] as const) {
      const { probes, clock, diverges } = world()
      if (first === 'probe') probes.probed(ME, 'ok')
      else probes.attempted(ME, 'auth')
      clock.advance(windowMs)
      if (first === 'probe') probes.attempted(ME, 'auth')
      else probes.probed(ME, 'ok')
      expect(diverges(), first).toBe(true)
      clock.advance(1)
      expect(diverges(), first).toBe(false)
    }
  })

  it('holds a failure for the last word of the calls for as long as they leave the profile alone', () => {
    const { probes, clock, rests, diverges } = world()
    probes.attempted(ME, 'billing')
    rests(true)
    clock.advance(4 * windowMs)
    probes.probed(ME, 'ok')
    expect(diverges()).toBe(true)
    rests(false)
    expect(diverges()).toBe(false)
  })

  it('lets the last probe count until the next one where probes are rare', () => {
    const everyMs = 2 * windowMs
    const { probes, clock, diverges } = world({ everyMs })
    probes.probed(ME, 'ok')
    clock.advance(everyMs)
    probes.attempted(ME, 'auth')
    expect(diverges()).toBe(true)
  })

  it('lets an acquisition that is admitted take back a refused one, but not what a provider said', () => {
    const { probes, diverges } = world()
    const refused = new GatewayError('GW_REFRESH_FAILED', 'the token endpoint is down', { next: 'try_again_later', outcome: 'unavailable' })
    probes.probed(ME, 'ok')
    probes.acquireFailed(ME, refused)
    expect(diverges()).toBe(true)
    probes.acquireAdmitted(ME.id)
    expect(diverges()).toBe(false)
    probes.attempted(ME, 'auth')
    probes.acquireAdmitted(ME.id)
    expect(diverges()).toBe(true)
  })

  it.each(['GW_ACQUIRE_ABORTED', 'GW_PROFILE_UNKNOWN', 'GW_STORE_UNREADABLE', 'GW_CLOSED'] as const)(
    'takes an acquisition that ended in %s for no word about the profile',
    code => {
      const { probes, diverges } = world()
      probes.probed(ME, 'ok')
      probes.acquireFailed(ME, new GatewayError(code, 'x', { next: 'nothing' }))
      probes.acquireFailed(ME, new TypeError('x'))
      expect(diverges()).toBe(false)
    },
  )
})
