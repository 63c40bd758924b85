import { describe, expect, it } from 'vitest'
import { type DroppableLabel, LABEL_CALLER, LABEL_LABEL, LABEL_PROFILE, LABEL_REASON, LABELS, OTHER } from '../../otel/semconv.ts'
import { FaultReporter } from '../../src/telemetry/fault-reporter.ts'
import { LabelLimiter } from '../../src/telemetry/labels.ts'
import type { ProfileNaming } from '../../src/telemetry/profile-name.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

function world() {
  const overflows: string[] = []
  return { labels: new LabelLimiter(label => overflows.push(label)), overflows }
}

describe('labels', () => {
  it('lets a capped label mint its cap of values and shows the rest as _other', () => {
    const { labels, overflows } = world()
    const shown = new Set(Array.from({ length: 10_000 }, (_, index) => labels.value(LABEL_CALLER, `src/a.ts#caller${index}`)))
    expect(shown.size).toBe((LABELS[LABEL_CALLER]?.cap ?? 0) + 1)
    expect(shown).toContain(OTHER)
    expect(overflows).toHaveLength(10_000 - 200)
  })

  it('goes on showing a value it has minted when the cap is reached', () => {
    const { labels } = world()
    for (let index = 0; index < 300; index += 1) labels.value(LABEL_CALLER, `caller${index}`)
    expect(labels.value(LABEL_CALLER, 'caller7')).toBe('caller7')
  })

  it('spends one value of the cap on secrets that look the same when they are hidden', () => {
    const { labels, overflows } = world()
    for (let index = 0; index < 2000; index += 1)
      expect(labels.value(LABEL_PROFILE, `openai:user${index}@example.com`)).toBe('openai:[e-mail]')
    expect(overflows).toEqual([])
  })

  it('lets only the words of a closed list through', () => {
    const { labels, overflows } = world()
    expect(labels.value(LABEL_REASON, 'forced')).toBe('forced')
    expect(labels.value(LABEL_REASON, 'because')).toBe(OTHER)
    expect(overflows).toEqual([LABEL_REASON])
  })

  it('does not overflow into the overflow counter itself', () => {
    const { labels, overflows } = world()
    expect(labels.value(LABEL_LABEL, 'no such label')).toBe(OTHER)
    expect(overflows).toEqual([])
  })

  it('cuts long values', () => {
    expect(world().labels.value(LABEL_CALLER, 'é/'.repeat(5000))).toHaveLength(120)
  })

  it('refuses an undeclared label', () => {
    expect(() => world().labels.value('colour', 'red')).toThrow(TypeError)
  })
})

/** Telemetry of an application that names and groups its profiles. */
function namedWorld(profiles: ProfileNaming, dropLabels: readonly DroppableLabel[] = []) {
  const faults: unknown[] = []
  const observed = observedTelemetry({ profiles, dropLabels, faults: new FaultReporter(fault => faults.push(fault)) })
  return { ...observed, faults, instruments: observed.telemetry.instruments, nameOf: (id: string) => observed.telemetry.profile(id) }
}

describe('labels of profiles', () => {
  const tenantOf = (id: string) => /^(tenant-\d)\//.exec(id)?.[1]

  it('are groups where a callback says so, in fallbacks too', async () => {
    const w = namedWorld({ groupOf: tenantOf })
    const [first, second, other] = ['tenant-1/ann', 'tenant-1/ben', 'cid'].map(w.nameOf)
    w.instruments.add('fallbacks', { provider: 'acme', from: first, to: second, reason: 'auth' })
    w.instruments.add('fallbacks', { provider: 'acme', from: second, to: other, reason: 'auth' })
    expect(await w.series('fallbacks')).toEqual([
      { labels: { provider: 'acme', from: 'tenant-1', to: 'tenant-1', reason: 'auth' }, value: 1 },
      { labels: { provider: 'acme', from: 'tenant-1', to: OTHER, reason: 'auth' }, value: 1 },
    ])
    expect(new Set([first, second, other]).size).toBe(3)
  })

  it('are absent where they are dropped, and what is counted is summed', async () => {
    const w = namedWorld({}, ['profile', 'caller'])
    for (const id of ['a', 'b']) w.instruments.add('replays', { provider: 'acme', profile: w.nameOf(id), caller: id })
    expect(await w.series('replays')).toEqual([{ labels: { provider: 'acme' }, value: 2 }])
  })

  it('show one gauge for a group: the state of any, the first expiry, and no value of an earlier observation', async () => {
    const w = namedWorld({ groupOf: tenantOf })
    const observe = (values: readonly [string, number, number][]) => {
      const gauges = w.instruments.observe(['profileServes', 'tokenExpiry'])
      for (const [id, serves, expiry] of values) {
        const labels = { provider: 'acme', profile: w.nameOf(id) }
        gauges.set('profileServes', serves, labels)
        gauges.set('tokenExpiry', expiry, labels)
      }
    }
    observe([['tenant-1/ann', 1, 50]])
    observe([
      ['tenant-1/ann', 0, 100],
      ['tenant-1/ben', 1, 90],
      ['tenant-1/cid', 0, 110],
    ])
    const labels = { provider: 'acme', profile: 'tenant-1' }
    expect(await w.series('profileServes')).toEqual([{ labels, value: 1 }])
    expect(await w.series('tokenExpiry')).toEqual([{ labels, value: 90 }])
  })

  it('ask a callback once for each profile, and never for an unknown one', () => {
    const asked: string[] = []
    const w = namedWorld({
      nameOf: id => {
        asked.push(id)
        return id.toUpperCase()
      },
    })
    expect(['ann', 'ann', 'unknown', 'ann'].map(w.nameOf)).toEqual(['ANN', 'ANN', 'unknown', 'ANN'])
    expect(asked).toEqual(['ann'])
  })

  it('prefer a name of the configuration', () => {
    expect(namedWorld({ configured: new Map([['ann', 'acme:boss']]), nameOf: () => 'other' }).nameOf('ann')).toBe('acme:boss')
  })

  it('hold no e-mail address that a callback returns', async () => {
    const w = namedWorld({ nameOf: id => `${id}@acme.example`, groupOf: id => `${id}@acme.example` })
    expect(w.nameOf('ann')).toBe('ann')
    w.instruments.add('leasesLost', { provider: 'acme', profile: w.nameOf('ann') })
    expect((await w.series('leasesLost'))[0]?.labels.profile).toMatch(/^[0-9a-f]{8}$/)
  })

  it('do without a callback that throws or returns what is no text, which is reported once', async () => {
    const w = namedWorld({
      nameOf: () => 7 as never,
      groupOf: () => {
        throw new RangeError('x')
      },
    })
    for (const id of ['ann', 'ben']) w.instruments.add('leasesLost', { provider: 'acme', profile: w.nameOf(id) })
    expect(await w.series('leasesLost')).toEqual([{ labels: { provider: 'acme', profile: OTHER }, value: 2 }])
    expect([w.nameOf('ann'), w.nameOf('ben')]).toEqual(['ann', 'ben'])
    expect(w.faults.map(fault => (fault as Error).name).sort()).toEqual(['RangeError', 'TypeError'])
  })
})
