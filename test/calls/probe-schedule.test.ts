import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ProbeSchedule } from '../../src/calls/probe-schedule.ts'

const EVERY_MS = 60_000

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

/** A schedule of which the rounds are counted. @param strays How far its rounds stray, from 0 to 1. */
function world({
  strays = 0.5,
  everyMs = EVERY_MS,
  fails = false,
}: {
  strays?: number
  everyMs?: number | undefined
  fails?: boolean
} = {}) {
  let rounds = 0
  const failures: unknown[] = []
  const schedule = new ProbeSchedule({
    everyMs,
    random: () => strays,
    onFailed: error => failures.push(error),
    probeAll: async () => {
      rounds += 1
      if (fails) throw new Error('the store cannot be read')
    },
  })
  return { schedule, failures, rounds: () => rounds }
}

function unreachable(error: unknown): never {
  throw error
}

describe('the schedule of probes', () => {
  it.each([
    ['early', 0, 0, 0.9],
    ['in the middle', 0.5, 0.05, 1],
    ['late', 1, 0.1, 1.1],
  ])('makes its first round soon and the next ones a tenth around their time: %s', async (_when, strays, first, next) => {
    const { schedule, rounds } = world({ strays })
    schedule.start()
    expect(rounds()).toBe(0)
    await vi.advanceTimersByTimeAsync(EVERY_MS * first)
    expect(rounds()).toBe(1)
    await vi.advanceTimersByTimeAsync(EVERY_MS * next - 1)
    expect(rounds()).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(rounds()).toBe(2)
    schedule.stop()
  })

  it('makes none without a time between them', async () => {
    const schedule = new ProbeSchedule({ probeAll: () => Promise.reject(new Error('probed')), onFailed: unreachable })
    schedule.start()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('goes on after a round that failed, and says so', async () => {
    const { schedule, failures, rounds } = world({ fails: true })
    schedule.start()
    await vi.advanceTimersByTimeAsync(2.5 * EVERY_MS)
    expect(rounds()).toBe(3)
    expect(failures).toHaveLength(3)
    schedule.stop()
  })

  it('begins none when it is stopped, between two rounds or within one', async () => {
    const between = world()
    between.schedule.start()
    between.schedule.stop()
    expect(vi.getTimerCount()).toBe(0)
    const released = Promise.withResolvers<void>()
    const within = new ProbeSchedule({ everyMs: EVERY_MS, probeAll: () => released.promise, onFailed: unreachable })
    within.start()
    await vi.advanceTimersByTimeAsync(EVERY_MS)
    within.stop()
    released.resolve()
    await vi.advanceTimersByTimeAsync(EVERY_MS)
    expect(vi.getTimerCount()).toBe(0)
  })
})
