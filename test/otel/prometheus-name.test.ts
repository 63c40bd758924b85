import { describe, expect, it } from 'vitest'
import { prometheusLabel, prometheusName } from '../../otel/prometheus-name.ts'
import { METRICS } from '../../otel/semconv.ts'

describe('names in Prometheus', () => {
  it('are those that OTLP ingestion yields, for every metric', () => {
    expect(Object.values(METRICS).map(prometheusName)).toEqual([
      'gatewatch_info',
      'gatewatch_oauth_refresh_duration_seconds',
      'gatewatch_oauth_token_request_duration_seconds',
      'gatewatch_oauth_operation_duration_seconds',
      'gatewatch_gate_acquisitions_total',
      'gatewatch_gate_wait_duration_seconds',
      'gatewatch_gate_bypasses_total',
      'gatewatch_oauth_replays_total',
      'gatewatch_oauth_token_age_at_refresh_seconds',
      'gatewatch_attempt_duration_seconds',
      'gatewatch_attempt_time_to_first_chunk_seconds',
      'gatewatch_fallbacks_total',
      'gatewatch_billing_changes_total',
      'gatewatch_profile_state',
      'gatewatch_profile_serves',
      'gatewatch_profile_token_expiry_time_seconds',
      'gatewatch_profile_generation',
      'gatewatch_probe_divergence',
      'gatewatch_probe_age_seconds',
      'gatewatch_oauth_imports_total',
      'gatewatch_lease_wait_duration_seconds',
      'gatewatch_lease_lost_total',
      'gatewatch_store_errors_total',
      'gatewatch_telemetry_dropped_total',
      'gatewatch_telemetry_label_overflows_total',
      'http_server_request_duration_seconds',
      'gen_ai_client_operation_duration_seconds',
      'gen_ai_client_token_usage',
    ])
  })

  it.each([
    [{ name: 'x.total', kind: 'counter', unit: '{thing}' }, 'x_total'],
    [{ name: 'x.seconds', kind: 'histogram', unit: 's' }, 'x_seconds'],
    [{ name: 'x.size', kind: 'counter', unit: 'By' }, 'x_size_bytes_total'],
    [{ name: 'x.rate', kind: 'gauge', unit: 'By/s' }, 'x_rate_bytes_per_second'],
    [{ name: 'x.use', kind: 'gauge', unit: '1' }, 'x_use_ratio'],
    [{ name: '2x..y-z', kind: 'gauge', unit: '' }, '_2x_y_z'],
  ] as const)('%j is %s', (metric, name) => {
    expect(prometheusName(metric)).toBe(name)
  })

  it('writes labels with underscores and never begins one with a digit', () => {
    expect(['http.request.method', 'caller', '2nd'].map(prometheusLabel)).toEqual(['http_request_method', 'caller', 'key_2nd'])
  })
})
