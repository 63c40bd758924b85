import { describe, expect, it } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import { RunningDiagnosis } from '../../src/diagnose/running-diagnosis.ts'
import type { GatewatchEvent } from '../../src/domain/events.ts'
import { gatewayWorld } from '../support/gateway-world.ts'
import { evidence, refresh } from './events.ts'

function world(events: readonly GatewatchEvent[]) {
  const readings: (number | undefined)[] = []
  let version = 0
  const shared = new RunningDiagnosis({
    version: async () => version,
    events: async ({ sinceMs }) => {
      readings.push(sinceMs)
      return { events: events.filter(({ startMs, durationMs }) => startMs + durationMs >= (sinceMs ?? 0)) }
    },
  })
  return { shared, readings, record: () => (version += 1) }
}

// Seen: each GET of /ops/data/findings ran all rules over 35,000 spans on the loop of the gateway.
// Why: it was computed in one go for each request. The fix: in turns, and shared by all callers. Issue 1, D6.
describe('the diagnosis of a process that serves others', () => {
  const events = Array.from({ length: 5_000 }, (_, index) => refresh(index))

  it('says what diagnose says, and the event loop turns at least once for each rule', async () => {
    const { shared } = world(events)
    let turns = 0
    let isOver = false
    const count = () => {
      turns += 1
      if (!isOver) setImmediate(count)
    }
    setImmediate(count)
    const found = await shared.of()
    isOver = true
    expect(found).toEqual(diagnose(evidence(...events)))
    expect(turns).toBeGreaterThanOrEqual(RULES.length)
  })

  it('reads events that a store streams', async () => {
    async function* stream() {
      yield* events
    }
    const shared = new RunningDiagnosis({ version: async () => 1, events: async () => ({ events: stream() }) })
    expect(await shared.of()).toEqual(diagnose(evidence(...events)))
  })

  it('is computed once for all callers that ask at once, and not again while nothing is recorded', async () => {
    const { shared, readings, record } = world(events)
    const [first, second] = await Promise.all([shared.of(), shared.of()])
    expect(second).toBe(first)
    expect(await shared.of()).toBe(first)
    record()
    // Still recent: many times the processor time that it took has not passed.
    expect(await shared.of()).toBe(first)
    expect(readings).toEqual([0])
  })

  it('looks at a range when one is named; beginnings within a minute share it', async () => {
    const { shared, readings } = world(events)
    const first = events[0]?.startMs ?? 0
    const minute = Math.ceil((first + 1_000_000) / 60_000) * 60_000
    const [one, two] = await Promise.all([shared.of(minute + 1), shared.of(minute + 59_000)])
    expect(two).toBe(one)
    expect(readings).toEqual([minute])
    expect(one.checked.events).toBeLessThan(events.length)
  })

  it('does not keep a failure', async () => {
    let isBroken = true
    const shared = new RunningDiagnosis({
      version: async () => 1,
      events: async () => {
        if (isBroken) throw new Error('cannot be read')
        return { events }
      },
    })
    await expect(shared.of()).rejects.toThrow('cannot be read')
    isBroken = false
    expect((await shared.of()).checked.events).toBe(events.length)
  })

  it('is served as JSON, for a time and for a profile', async () => {
    const w = await gatewayWorld()
    const { json } = await w.ask('/ops/data/findings')
    expect(json).toMatchObject({ findings: [], checked: { rules: RULES.length } })
    expect((await w.ask(`/ops/data/findings?since_ms=${Date.now()}&profile=other`)).json).toMatchObject({ findings: [] })
  })
})
