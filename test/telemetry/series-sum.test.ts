import { describe, expect, it } from 'vitest'
import type { MetricKey } from '../../otel/semconv.ts'
import { type HistogramSeries, MetricStorage, type NumberSeries } from '../../src/telemetry/metric-storage.ts'
import { type SeriesSnapshot, SeriesSum, snapshotOf } from '../../src/telemetry/series-sum.ts'

const LABELS = { provider: 'acme', profile: 'p' }

/** A process that has counted so much, as another one gets it. */
function sent(counts: { leases?: number; waits?: readonly [number, string?][]; expiry?: number; serves?: number }): SeriesSnapshot[] {
  const storage = new MetricStorage()
  const number = (key: MetricKey) => storage.series(key, LABELS) as NumberSeries
  if (counts.leases !== undefined) number('leasesLost').value = counts.leases
  if (counts.expiry !== undefined) number('tokenExpiry').value = counts.expiry
  if (counts.serves !== undefined) number('profileServes').value = counts.serves
  for (const [seconds, traceId] of counts.waits ?? []) (storage.series('leaseWait', LABELS) as HistogramSeries).record(seconds, traceId)
  return JSON.parse(JSON.stringify(snapshotOf(storage)))
}

function sumOf(...processes: readonly (readonly SeriesSnapshot[])[]) {
  const sum = new SeriesSum()
  for (const series of processes) sum.add(series)
  const first = (key: MetricKey) => [...sum.storage.of(key)][0]
  return { sum, value: (key: MetricKey) => (first(key) as NumberSeries | undefined)?.value, first }
}

describe('the series of several processes', () => {
  it('are one: counters and histograms are summed', () => {
    const { value, first } = sumOf(sent({ leases: 2, waits: [[0.003], [70]] }), sent({ leases: 3, waits: [[0.003]] }))
    expect(value('leasesLost')).toBe(5)
    const waits = first('leaseWait') as HistogramSeries
    expect({ count: waits.count, sum: waits.sum, small: waits.counts[2], last: waits.counts.at(-1) }).toEqual({
      count: 3,
      sum: 70.006,
      small: 2,
      last: 1,
    })
  })

  it('show one value of a gauge: the first expiry, and that any process can serve', () => {
    const { value } = sumOf(sent({ expiry: 200, serves: 0 }), sent({ expiry: 100, serves: 1 }), sent({ expiry: 300, serves: 0 }))
    expect([value('tokenExpiry'), value('profileServes')]).toEqual([100, 1])
  })

  it('have the newest exemplar of each bucket', () => {
    const [older, newer] = [sent({ waits: [[0.2, 'a'.repeat(32)]] }), sent({ waits: [[0.2, 'b'.repeat(32)]] })]
    const exemplar = newer.flatMap(({ points }) => points).flatMap(point => ('exemplars' in point ? point.exemplars : []))
    for (const one of exemplar) if (one) Object.assign(one, { at: one.at + 1_000 })
    for (const order of [
      [older, newer],
      [newer, older],
    ])
      expect((sumOf(...order).first('leaseWait') as HistogramSeries).exemplars.find(Boolean)?.traceId).toBe('b'.repeat(32))
  })

  it('keep the counters of a process that has ended, and none of its gauges', () => {
    const { sum, value } = sumOf()
    sum.add(sent({ leases: 2, serves: 1 }), { isGone: true })
    expect([value('leasesLost'), value('profileServes')]).toEqual([2, undefined])
  })

  it('leave out what another version of the package has: a metric, buckets', () => {
    const points = [{ labels: LABELS, counts: [1, 2], sum: 3, exemplars: [] }]
    const { first } = sumOf([
      { key: 'noSuchMetric' as MetricKey, points: [] },
      { key: 'leaseWait', points },
      { key: 'leasesLost', points },
    ])
    expect((first('leaseWait') as HistogramSeries).count).toBe(0)
  })
})
