import { prometheusName } from '../../../otel/prometheus-name.ts'
import { METRICS, type MetricKey } from '../../../otel/semconv.ts'
import { type ParsedSample, parseOpenMetrics } from '../../support/open-metrics-parser.ts'

/** Everything that a gateway's `/metrics` holds. */
export async function scrape(url: string): Promise<readonly ParsedSample[]> {
  const answer = await fetch(`${url}/metrics`, { headers: { accept: 'application/openmetrics-text' } })
  return parseOpenMetrics(await answer.text()).flatMap(({ samples }) => samples)
}

/** The series of one metric; of a histogram, how often it was recorded. */
export function seriesOf(samples: readonly ParsedSample[], key: MetricKey): readonly ParsedSample[] {
  const name = prometheusName(METRICS[key])
  const wanted = METRICS[key].kind === 'histogram' ? `${name}_count` : name
  return samples.filter(sample => sample.name === wanted)
}
