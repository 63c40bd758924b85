import { AggregationTemporality, type DataPoint, type Histogram } from '@opentelemetry/sdk-metrics'
import { describe, expect, it } from 'vitest'
import { SeriesProducer } from '../../otel/sdk/series-producer.ts'
import { LABELS, OTHER } from '../../otel/semconv.ts'
import { Instruments } from '../../src/telemetry/instruments.ts'
import { MetricStorage, MOST_SERIES_PER_METRIC } from '../../src/telemetry/metric-storage.ts'

function world(temporality = AggregationTemporality.CUMULATIVE) {
  const storage = new MetricStorage()
  const reader = () => {
    const producer = new SeriesProducer(storage, { temporalityOf: () => temporality })
    return async () => (await producer.collect()).resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
  }
  return { storage, instruments: new Instruments(storage), reader }
}

/** Values of counters, counts of histograms. */
async function values(collect: ReturnType<ReturnType<typeof world>['reader']>): Promise<number[]> {
  return (await collect()).flatMap(({ dataPoints }) =>
    (dataPoints as DataPoint<number | Histogram>[]).map(({ value }) => (typeof value === 'number' ? value : value.count)),
  )
}

describe('a reader', () => {
  it('hears of all since the beginning, as often as it asks', async () => {
    const w = world()
    const collect = w.reader()
    w.instruments.add('acquisitions', { provider: 'p' }, 2)
    w.instruments.record('acquisitionWait', 0.2, { provider: 'p' })
    expect([await values(collect), await values(collect)]).toEqual([
      [2, 1],
      [2, 1],
    ])
  })

  it('that wants differences hears of what came since it last asked, whatever another reader asks', async () => {
    const w = world(AggregationTemporality.DELTA)
    const [collect, other] = [w.reader(), w.reader()]
    w.instruments.add('acquisitions', { provider: 'p' }, 2)
    w.instruments.record('acquisitionWait', 0.2, { provider: 'p' })
    expect(await values(collect)).toEqual([2, 1])
    w.instruments.add('acquisitions', { provider: 'p' }, 5)
    w.instruments.record('acquisitionWait', 3, { provider: 'p' })
    w.instruments.record('acquisitionWait', 4, { provider: 'p' })
    expect(await values(other)).toEqual([7, 3])
    const [, waits] = await collect()
    const [point] = (waits?.dataPoints ?? []) as DataPoint<Histogram>[]
    expect(point?.value).toMatchObject({ count: 2, sum: 7 })
    expect(point?.value.buckets.counts.reduce((sum, count) => sum + count, 0)).toBe(2)
    expect(point?.value).not.toHaveProperty('min')
    expect(await values(collect)).toEqual([])
  })
})

describe('a value that cannot be', () => {
  it.each([Number.NaN, -1])('is left out: %s', async value => {
    const w = world()
    w.instruments.record('acquisitionWait', value, { provider: 'p' })
    w.instruments.add('acquisitions', { provider: 'p' }, value)
    expect((await values(w.reader())).filter(count => count !== 0)).toEqual([])
  })
})

describe('a metric', () => {
  it('has no more than its series: what is beyond is counted under _other', () => {
    const { storage } = world()
    const series = Array.from({ length: MOST_SERIES_PER_METRIC + 50 }, (_, index) =>
      storage.series('acquisitions', { caller: `c${index}`, reason: index % 2 === 0 ? 'forced' : 'expired' }),
    )
    expect(LABELS.reason?.values).toContain('forced')
    expect(new Set(series.slice(MOST_SERIES_PER_METRIC)).size).toBe(2)
    expect(series.at(-1)?.labels).toEqual({ caller: OTHER, reason: 'expired' })
  })
})
