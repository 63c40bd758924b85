import { describe, expect, it } from 'vitest'
import { formatOf, mergeExposition } from '../../src/telemetry/merge-exposition.ts'
import { parseOpenMetrics } from '../support/open-metrics-parser.ts'

const OURS = `# TYPE target info
# HELP target What the process says about itself.
target_info{service_name="ours"} 1
# TYPE gatewatch_gate_acquisitions counter
# HELP gatewatch_gate_acquisitions Acquisitions.
gatewatch_gate_acquisitions_total{provider="acme"} 3
# TYPE http_server_request_duration_seconds histogram
# UNIT http_server_request_duration_seconds seconds
# HELP http_server_request_duration_seconds Inbound.
http_server_request_duration_seconds_bucket{http_route="/a",le="1.0"} 1 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.5 1700000000
http_server_request_duration_seconds_bucket{http_route="/a",le="+Inf"} 1
http_server_request_duration_seconds_sum{http_route="/a"} 0.5
http_server_request_duration_seconds_count{http_route="/a"} 1
# EOF
`

const end = (text: string) => `${text}# EOF\n`

describe('metrics of two registries in one answer', () => {
  it('have each family once, with one end, and keep exemplars', () => {
    const merged = mergeExposition(OURS, end('# HELP up Up.\n# TYPE up gauge\nup 1\n'))
    expect(parseOpenMetrics(merged).map(({ name }) => name)).toEqual([
      'up',
      'target',
      'gatewatch_gate_acquisitions',
      'http_server_request_duration_seconds',
    ])
    expect(merged).toContain('trace_id="0af7651916cd43dd8448eb211c80319c"')
    expect(merged.match(/# EOF/g)).toHaveLength(1)
  })

  it('have the target of the other one', () => {
    const merged = mergeExposition(OURS, end('# TYPE target info\n# HELP target T.\ntarget_info{service_name="theirs"} 1\n'))
    expect(merged.match(/^target_info.*$/gm)).toEqual(['target_info{service_name="theirs"} 1'])
  })

  it('share a family, each with its own series, and theirs where both have it', () => {
    const theirs = `# TYPE http_server_request_duration_seconds histogram
# UNIT http_server_request_duration_seconds seconds
# HELP http_server_request_duration_seconds Theirs.
http_server_request_duration_seconds_bucket{le="+Inf",http_route="/a"} 7
http_server_request_duration_seconds_sum{http_route="/a"} 9
http_server_request_duration_seconds_count{http_route="/a"} 7
http_server_request_duration_seconds_bucket{le="+Inf",http_route="/b"} 2
http_server_request_duration_seconds_sum{http_route="/b"} 1
http_server_request_duration_seconds_count{http_route="/b"} 2
`
    const merged = mergeExposition(OURS.replaceAll('"/a"', '"/ours"'), end(theirs))
    const [family] = parseOpenMetrics(merged).filter(({ name }) => name === 'http_server_request_duration_seconds')
    const counts = family?.samples.filter(({ name }) => name.endsWith('_count')).map(({ labels, value }) => [labels.http_route, value])
    expect(counts).toEqual([
      ['/a', 7],
      ['/b', 2],
      ['/ours', 1],
    ])
    expect(mergeExposition(OURS, end(theirs))).not.toContain('_count{http_route="/a"} 1')
  })

  it('leave out ours where the types differ', () => {
    const merged = mergeExposition(OURS, end('# TYPE http_server_request_duration_seconds gauge\nhttp_server_request_duration_seconds 1\n'))
    expect(merged.match(/^http_server.*$/gm)).toEqual(['http_server_request_duration_seconds 1'])
  })

  it('have our series from us alone where an exporter of OpenTelemetry has them too', () => {
    const theirs = `# HELP gatewatch_gate_acquisitions_total A.
# TYPE gatewatch_gate_acquisitions_total counter
gatewatch_gate_acquisitions_total{provider="acme",otel_scope_name="gatewatch"} 2
# HELP gen_ai_client_operation_duration_seconds G.
# TYPE gen_ai_client_operation_duration_seconds histogram
gen_ai_client_operation_duration_seconds_count{otel_scope_name="gatewatch"} 2
# HELP app_jobs_total Jobs.
# TYPE app_jobs_total counter
app_jobs_total{otel_scope_name="app"} 4
`
    const ours =
      '# HELP gatewatch_gate_acquisitions_total A.\n# TYPE gatewatch_gate_acquisitions_total counter\ngatewatch_gate_acquisitions_total{provider="acme"} 3\n'
    const merged = mergeExposition(ours, theirs)
    expect(merged.split('\n').filter(line => line && !line.startsWith('#'))).toEqual([
      'app_jobs_total{otel_scope_name="app"} 4',
      'gatewatch_gate_acquisitions_total{provider="acme"} 3',
    ])
  })

  it('keep label values with quotes, braces and commas, samples without metadata, and lines that end with a return', () => {
    const odd = String.raw`odd{a="x\"},b={",b="# EOF"} 1`
    const theirs = `${odd}\r\nplain 2 1700000000000\n# a comment`
    expect(formatOf(theirs)).toBe('prometheus')
    expect(mergeExposition('', theirs)).toBe(`${odd}\nplain 2 1700000000000\n`)
  })
})
