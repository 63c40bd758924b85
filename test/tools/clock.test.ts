import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/tools/clock.ts'

describe('the system clock', () => {
  it('tells wall time and time that only grows', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(60_000)
    const before = systemClock.monotonic()
    expect(systemClock.monotonic()).toBeGreaterThanOrEqual(before)
  })

  it('sleeps at least as long as asked for', async () => {
    const before = systemClock.monotonic()
    await systemClock.sleep(20)
    expect(systemClock.monotonic() - before).toBeGreaterThanOrEqual(19)
  })

  it('wakes with the reason of the signal', async () => {
    const controller = new AbortController()
    const sleeping = systemClock.sleep(3_600_000, controller.signal)
    controller.abort(new RangeError('enough'))
    await expect(sleeping).rejects.toThrow(new RangeError('enough'))
  })

  it('does not fall asleep under a signal that has aborted', async () => {
    await expect(systemClock.sleep(3_600_000, AbortSignal.abort(new RangeError('before')))).rejects.toThrow('before')
  })

  it('leaves no listener at the signal once it is over', async () => {
    const { signal } = new AbortController()
    let listeners = 0
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...parameters: Parameters<typeof add>) => {
      listeners += 1
      add(...parameters)
    }
    signal.removeEventListener = (...parameters: Parameters<typeof remove>) => {
      listeners -= 1
      remove(...parameters)
    }
    await systemClock.sleep(1, signal)
    expect(listeners).toBe(0)
  })
})
