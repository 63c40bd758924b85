import { prometheusName } from '../../otel/prometheus-name.ts'
import { type SdkOptions, startSdk } from '../../otel/sdk/sdk.ts'
import { METRICS } from '../../otel/semconv.ts'
import type { RunningTelemetry } from '../../src/telemetry/running-telemetry.ts'
import { Telemetry } from '../../src/telemetry/telemetry.ts'
import { afterwards } from '../support/clean-up.ts'
import { KeptSpans } from '../support/kept-spans.ts'
import { type ParsedFamily, parseOpenMetrics } from '../support/open-metrics-parser.ts'
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts'

export const OPEN_METRICS = 'application/openmetrics-text'

/** Telemetry as an embedding program has it, with an environment of its own. */
export async function start(environment: Record<string, string>, options: Partial<SdkOptions> = {}) {
  const recorder = new KeptSpans()
  const sdk = await startSdk({ eventSink: () => recorder, standalone: false, environment, ...options })
  afterwards(() => sdk.shutdown())
  return { sdk, recorder, telemetry: new Telemetry(sdk.source) }
}

/** A real receiver, stopped after the test. */
export async function receive(): Promise<OtlpReceiver> {
  const receiver = await startOtlpReceiver()
  afterwards(() => receiver.stop())
  return receiver
}

/** What `/metrics` shows, parsed strictly. */
export async function families(sdk: RunningTelemetry): Promise<ParsedFamily[]> {
  return parseOpenMetrics((await sdk.metrics(OPEN_METRICS)).body)
}

/** What was dropped so far, by place. */
export async function dropped(sdk: RunningTelemetry): Promise<Record<string, number>> {
  const name = prometheusName(METRICS.telemetryDropped).replace(/_total$/, '')
  const samples = (await families(sdk)).find(family => family.name === name)?.samples ?? []
  return Object.fromEntries(samples.map(({ labels, value }) => [labels.place, value]))
}
