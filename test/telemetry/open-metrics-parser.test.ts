import { describe, expect, it } from 'vitest'
import { parseOpenMetrics } from '../support/open-metrics-parser.ts'

const COUNTER = '# TYPE a counter\n# HELP a Some help.\na_total{x="1"} 2\n'
const HISTOGRAM =
  '# TYPE h_seconds histogram\n# UNIT h_seconds seconds\nh_seconds_bucket{le="1.0"} 1 # {trace_id="ab"} 0.5 1.5\nh_seconds_bucket{le="+Inf"} 2\nh_seconds_sum 9.5\nh_seconds_count 2\n'

describe('the parser the tests of /metrics rely on', () => {
  it('reads what the standard allows', () => {
    expect(parseOpenMetrics(`${COUNTER}${HISTOGRAM}# EOF\n`)).toMatchObject([
      { name: 'a', type: 'counter', help: 'Some help.', samples: [{ name: 'a_total', labels: { x: '1' }, value: 2 }] },
      {
        name: 'h_seconds',
        type: 'histogram',
        unit: 'seconds',
        samples: [{ exemplar: { labels: { trace_id: 'ab' }, value: 0.5 } }, {}, {}, {}],
      },
    ])
  })

  it.each([
    ['no end', COUNTER],
    ['an end in the middle', `# EOF\n${COUNTER}# EOF\n`],
    ['an empty line', `${COUNTER}\n# EOF\n`],
    ['a comment', `# hello\n${COUNTER}# EOF\n`],
    ['a counter without _total', '# TYPE a counter\na 1\n# EOF\n'],
    ['a negative counter', '# TYPE a counter\na_total -1\n# EOF\n'],
    ['a sample without a family', 'a_total 1\n# EOF\n'],
    ['a family in two places', `${COUNTER}${HISTOGRAM}${COUNTER.replace('"1"', '"2"')}# EOF\n`],
    ['a series twice', `${COUNTER}a_total{x="1"} 3\n# EOF\n`],
    ['a label twice', '# TYPE a gauge\na{x="1",x="2"} 1\n# EOF\n'],
    ['a quote that is not escaped', '# TYPE a gauge\na{x="1"2"} 1\n# EOF\n'],
    ['a unit that does not end the name', '# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n'],
    ['a bound that is not canonical', `${HISTOGRAM.replace('"1.0"', '"1"')}# EOF\n`],
    ['buckets that go down', `${HISTOGRAM.replace('"1.0"} 1', '"1.0"} 3')}# EOF\n`],
    ['no bucket for infinity', `${HISTOGRAM.replace(/h_seconds_bucket\{le="\+Inf"\} 2\n/, '')}# EOF\n`],
    ['a count that disagrees', `${HISTOGRAM.replace('_count 2', '_count 3')}# EOF\n`],
    ['an exemplar outside its bucket', `${HISTOGRAM.replace('0.5 1.5', '5 1.5')}# EOF\n`],
    ['an exemplar on a gauge', '# TYPE a gauge\na 1 # {trace_id="ab"} 1\n# EOF\n'],
    ['an exemplar that is too long', `${HISTOGRAM.replace('="ab"', `="${'a'.repeat(130)}"`)}# EOF\n`],
    ['a value that is no number', '# TYPE a gauge\na undefined\n# EOF\n'],
  ])('refuses %s', (_, text) => {
    expect(() => parseOpenMetrics(text)).toThrow(SyntaxError)
  })
})
