import {
  createNoopMeter,
  diag,
  type Histogram,
  type Meter,
  type MeterProvider,
  metrics,
  type Observable,
  type ObservableCallback,
  ValueType,
} from '@opentelemetry/api'
import { type Labels, METRICS, type MetricDefinition, type MetricKey, SCOPE } from '../../otel/semconv.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import type { Membership } from './gatewatches.ts'

/** What the API answers while no SDK is registered. */
const NOTHING = createNoopMeter()

/** Instruments of one meter provider, until another one is registered. */
interface Bound {
  readonly histograms: ReadonlyMap<MetricKey, Histogram>
  release(): void
}

/**
 * Shows our series to the meter provider of the process: counters and gauges as observable instruments, which read the series
 * when the host's reader collects and cost nothing before; histograms are recorded through the API a second time, since it has
 * none that can be observed.
 *
 * Of several Gatewatches in a process one has the observable instruments, and shows the series of all of them: two with the same
 * labels would replace each other's values.
 */
export class HostMeter {
  readonly #version: string
  #membership: Membership | undefined
  #provider: MeterProvider | undefined
  #bound: Bound | undefined
  #isStopped = false

  constructor(version: string) {
    this.#version = version
  }

  /** From now on the series are shown, if this is the Gatewatch that shows them. */
  join(membership: Membership): void {
    this.#membership = membership
    this.rebind()
  }

  /** @param labels As they may be shown. */
  record(key: MetricKey, value: number, labels: Labels): void {
    this.check()
    const histogram = this.#bound?.histograms.get(key)
    if (histogram) guarded(() => histogram.record(value, labels))
  }

  /** Looks again at what is registered: the host may start its SDK after us. */
  rebind(): void {
    const provider = metrics.getMeterProvider()
    this.#bound?.release()
    this.#bound = undefined
    this.#provider = provider
    if (this.#isStopped) return
    guarded(() => {
      const meter = provider.getMeter(SCOPE, this.#version)
      if (meter !== NOTHING) this.#bound = bind(meter, this.#membership)
    })
  }

  /** Looks again only where another provider is registered than before. */
  check(): void {
    if (metrics.getMeterProvider() !== this.#provider) this.rebind()
  }

  /** The host's reader sees no more of our series. */
  stop(): void {
    this.#isStopped = true
    this.#bound?.release()
    this.#bound = undefined
  }
}

function bind(meter: Meter, membership: Membership | undefined): Bound {
  const histograms = new Map<MetricKey, Histogram>()
  const observed: [Observable, ObservableCallback][] = []
  for (const key of Object.keys(METRICS) as MetricKey[]) {
    const { name, kind, unit, help: description, buckets }: MetricDefinition = METRICS[key]
    if (kind === 'histogram') {
      const advice = { explicitBucketBoundaries: [...(buckets ?? [])] }
      histograms.set(key, meter.createHistogram(name, { unit, description, advice }))
    } else if (membership?.isPrimary) {
      const options = { unit, description, valueType: kind === 'counter' ? ValueType.INT : ValueType.DOUBLE }
      const instrument = kind === 'counter' ? meter.createObservableCounter(name, options) : meter.createObservableGauge(name, options)
      const callback: ObservableCallback = result => {
        for (const { labels, value } of membership.sums(name, kind)) result.observe(value, labels)
      }
      instrument.addCallback(callback)
      observed.push([instrument, callback])
    }
  }
  return {
    histograms,
    release: () => guarded(() => observed.forEach(([instrument, callback]) => void instrument.removeCallback(callback))),
  }
}

/** A fault of the host's meter is not the application's request's. */
function guarded(work: () => void): void {
  runGuarded(work, fault => diag.error('gatewatch: a measurement could not be passed to the OpenTelemetry SDK of this process', fault))
}
