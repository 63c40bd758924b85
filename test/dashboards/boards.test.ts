import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { generatedFiles } from '../../dashboards/artefacts.ts'
import { BOARDS } from '../../dashboards/boards.ts'
import { BOARD_TAG, BOARD_UIDS } from '../../dashboards/links.ts'
import { RED, UNITS } from '../../dashboards/theme.ts'
import { withBoards } from '../../dashboards/write-readme.ts'
import { prometheusLabel } from '../../otel/prometheus-name.ts'
import { ATTRIBUTES, LABELS } from '../../otel/semconv.ts'
import { ROOT } from '../house/source-files.ts'
import { type BoardFile, GENERATED, type PanelFile, readBoards, shownPanels, type TargetFile } from './board-file.ts'
import { groupingLabelsOf, interpolate, knownSeries, labelsLeftBy, rawCountersIn, selectorsOf, syntaxFaults } from './promql.ts'

const KNOWN = knownSeries()
/** Made by `label_replace` for node graphs. */
const MADE_LABELS = ['id', 'title', 'source', 'target']

const boards = readBoards()
const queries = boards.flatMap(board =>
  shownPanels(board).flatMap(panel =>
    (panel.targets ?? []).map(target => ({ board, panel, target, name: `${board.title} / ${panel.title} / ${target.refId}` })),
  ),
)
const promql = queries
  .filter(({ target }) => target.expr !== undefined)
  .map(query => ({ ...query, expr: interpolate(query.target.expr ?? '') }))

describe('the generated files', () => {
  it('are what the sources make of them: not edited by hand, not outdated', () => {
    const made = generatedFiles()
    expect(readdirSync(GENERATED).sort()).toEqual([...made.keys()].sort())
    for (const [name, content] of made) expect(readFileSync(join(GENERATED, name), 'utf8'), `${name}: run npm run dashboards`).toBe(content)
  })

  it('are described in README.md by the questions they answer', () => {
    const readme = readFileSync(join(ROOT, 'dashboards/README.md'), 'utf8')
    expect(withBoards(readme), 'run npm run dashboards').toBe(readme)
  })
})

describe.each(boards)('the board $title', board => {
  it('is one Grafana 10 to 13 can load, and keep its links to', () => {
    expect(board.schemaVersion).toBe(42)
    expect(board.uid).toMatch(/^[a-z-]{1,40}$/)
    expect(board.title).toMatch(/^Gatewatch \/ /)
    expect(board.description).toMatch(/\?$/)
    expect(board.tags).toEqual([BOARD_TAG])
    expect(board.links).toMatchObject([{ asDropdown: true, keepTime: true, includeVars: true }])
  })

  it('gives each panel an id of its own and a place of its own', () => {
    const ids = board.panels.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.every(id => id > 0)).toBe(true)
    expect(overlaps(board.panels)).toEqual([])
    expect(board.panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([])
  })

  it('names the queries of a panel apart', () => {
    for (const { title, targets = [] } of board.panels) {
      const refIds = targets.map(({ refId }) => refId)
      expect(refIds, title).toEqual([...new Set(refIds)].filter(Boolean))
    }
  })

  it('asks a question with each panel, and has a unit where there is a number', () => {
    for (const { title, description, type, fieldConfig } of shownPanels(board)) {
      expect(description, title).toMatch(/\?/)
      if (['timeseries', 'stat', 'heatmap'].includes(type)) expect(Object.values(UNITS), title).toContain(fieldConfig?.defaults.unit)
    }
  })

  it('shows no 0 for what is not reported, and says so', () => {
    for (const { title, type, targets = [], fieldConfig } of shownPanels(board)) {
      expect(
        targets.filter(({ expr }) => expr?.includes('vector(')),
        title,
      ).toEqual([])
      if (type !== 'text') expect(['none reported', 'not reported'], title).toContain(fieldConfig?.defaults.noValue)
    }
  })

  it('is red nowhere by default', () => {
    for (const { title, fieldConfig } of shownPanels(board)) {
      const steps = fieldConfig?.defaults.thresholds?.steps ?? []
      expect(
        steps.filter(({ value, color }) => color === 'red' || (value === 80 && color === RED)),
        title,
      ).toEqual([])
    }
  })

  it('takes its data source from a variable, the first one, and from nowhere else', () => {
    expect(board.templating.list[0]).toMatchObject({ name: 'datasource', type: 'datasource' })
    for (const { targets = [], datasource } of shownPanels(board)) {
      for (const uid of [datasource?.uid, ...targets.map(target => target.datasource.uid)])
        if (uid !== undefined) expect(uid).toMatch(/^\$\{(datasource|tempo)\}$/)
    }
  })

  it('defines each variable it uses and uses each it defines', () => {
    const defined = board.templating.list.map(({ name }) => name)
    const used = variablesIn(JSON.stringify([board.panels, board.templating.list.map(({ query }) => query)]))
    expect([...new Set(used)].sort()).toEqual([...defined].sort())
    expect(new Set(defined).size).toBe(defined.length)
  })

  it('chains its variables, asks for them again when the time changes, and lets All mean all', () => {
    for (const { name, type, allValue, refresh, query } of board.templating.list.filter(({ type }) => type === 'query')) {
      expect({ name, type, allValue, refresh }).toEqual({ name, type: 'query', allValue: '.+', refresh: 2 })
      const text = typeof query === 'string' ? query : (query?.query ?? '')
      if (name !== 'provider') expect(text).toContain('provider=~"$provider"')
      const selector = /^label_values\((.*), \w+\)$/.exec(text)?.[1] ?? ''
      expect(syntaxFaults(interpolate(selector)), text).toEqual([])
      for (const metric of /__name__=~"([^"]+)"/.exec(selector)?.[1]?.split('|') ??
        selectorsOf(interpolate(selector)).map(({ metric }) => metric))
        expect(KNOWN.get(metric ?? ''), text).toContain(name)
    }
  })

  it('leads only where something is', () => {
    const text = JSON.stringify(board)
    const boardsLinked = [...text.matchAll(/\/d\/([a-z-]+)/g)].map(([, uid = '']) => uid)
    expect(boardsLinked.filter(uid => !boards.some(other => other.uid === uid))).toEqual([])
    const chosenThere = [...text.matchAll(/[?&]var-(\w+)=/g)].map(([, variable = '']) => variable)
    expect(chosenThere.filter(variable => !variablesOfAnyBoard().includes(variable))).toEqual([])
    const searches = [...text.matchAll(/panes=([^"]+)"/g)].flatMap(([, panes = '']) => {
      const { traces } = JSON.parse(decodeURIComponent(panes)) as { traces: { queries: { query: string }[] } }
      return traces.queries.map(({ query }) => query)
    })
    expect(searches.flatMap(attributesIn).filter(name => !(name in ATTRIBUTES))).toEqual([])
  })
})

describe('the uids', () => {
  it('are one a board', () => {
    expect(boards.map(({ uid }) => uid)).toEqual(BOARDS.map(({ key }) => BOARD_UIDS[key]))
    expect(new Set(boards.map(({ uid }) => uid)).size).toBe(boards.length)
  })
})

describe.each(promql)('the query $name', ({ expr, target, panel }) => {
  it('is PromQL over series, labels and legends that exist', () => {
    expect(syntaxFaults(expr)).toEqual([])
    expect(unknownIn(expr)).toEqual([])
    const left = [...labelsLeftBy(expr, KNOWN), ...MADE_LABELS]
    const legend = panel.type === 'nodeGraph' ? [] : legendLabels(target)
    expect(legend.filter(label => !left.includes(label))).toEqual([])
  })

  it('never shows a raw counter', () => {
    expect(rawCountersIn(expr)).toEqual([])
  })
})

describe('labels', () => {
  it('are bounded, all that a board shows: each has a closed list or a cap', () => {
    const shown = new Set(promql.flatMap(({ expr }) => groupingLabelsOf(expr)))
    const bounded = new Map(Object.entries(LABELS).map(([label, definition]) => [prometheusLabel(label), definition]))
    const known = [...shown].filter(label => bounded.has(label))
    expect(known.length).toBeGreaterThan(10)
    expect(known.filter(label => bounded.get(label)?.values === undefined && bounded.get(label)?.cap === undefined)).toEqual([])
    // What is left is Prometheus' own, or made for a node graph.
    expect([...shown].filter(label => !bounded.has(label)).sort()).toEqual([
      'alertname',
      'id',
      'instance',
      'job',
      'le',
      'severity',
      'source',
      'target',
      'title',
    ])
  })
})

describe('queries for spans', () => {
  it('ask for attributes that exist', () => {
    const traceql = queries.filter(({ target }) => target.query !== undefined)
    expect(traceql.length).toBeGreaterThan(0)
    for (const { target } of traceql) expect(attributesIn(target.query ?? '').filter(name => !(name in ATTRIBUTES))).toEqual([])
  })
})

describe('the lint itself', () => {
  it.each([
    ['a metric that is gone', 'sum(rate(gatewatch_gone_total[5m]))', 'gatewatch_gone_total'],
    ['a label the metric does not have', 'rate(gatewatch_gate_bypasses_total{model="x"}[5m])', 'gatewatch_gate_bypasses_total{model}'],
    ['a label that no series has', 'sum by (trace_id) (up)', 'by (trace_id)'],
  ])('sees %s', (_what, expr, fault) => {
    expect(unknownIn(expr)).toContain(fault)
  })

  it('sees text that is no PromQL, and legends that do not survive', () => {
    expect(syntaxFaults('sum(rate(x[5m])')).not.toEqual([])
    expect(labelsLeftBy('sum by (caller) (rate(gatewatch_gate_acquisitions_total[5m]))', KNOWN)).toEqual(['caller'])
    expect(labelsLeftBy('sum (gatewatch_gate_acquisitions_total)', KNOWN)).toEqual([])
    expect(
      labelsLeftBy('histogram_quantile(0.5, sum by (via, le) (rate(gatewatch_oauth_refresh_duration_seconds_bucket[5m])))', KNOWN),
    ).toEqual(['via'])
  })

  it('sees counters that are shown as they are', () => {
    expect(rawCountersIn('sum(x_total)')).toEqual(['x_total'])
    expect(rawCountersIn('sum(increase(x_total{a="b"}[5m]))')).toEqual([])
  })

  it('sees panels that lie on each other', () => {
    const at = (id: number, x: number) => ({ id, type: 'stat', title: `${id}`, gridPos: { x, y: 0, w: 4, h: 4 } })
    expect(overlaps([at(1, 0), at(2, 3)])).toEqual(['1 and 2'])
    expect(overlaps([at(1, 0), at(2, 4)])).toEqual([])
  })
})

function unknownIn(expr: string): string[] {
  const faults: string[] = []
  const every = new Set([...[...KNOWN.values()].flat(), ...MADE_LABELS])
  for (const { metric, labels } of selectorsOf(expr)) {
    const own = KNOWN.get(metric ?? '')
    if (!own) faults.push(metric ?? 'a pattern')
    else faults.push(...labels.filter(label => !own.includes(label)).map(label => `${metric}{${label}}`))
  }
  return [
    ...faults,
    ...groupingLabelsOf(expr)
      .filter(label => !every.has(label))
      .map(label => `by (${label})`),
  ]
}

function legendLabels({ legendFormat = '' }: TargetFile): string[] {
  return [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(match => match[1] ?? '')
}

/** Variables, without Grafana's own (`__range`) and without the cells of a row. */
function variablesIn(text: string): string[] {
  return [...text.matchAll(/\$(?:\{(\w+)[^}]*\}|(\w+))/g)].map(match => match[1] ?? match[2] ?? '').filter(name => !/^(?:__|\d)/.test(name))
}

function variablesOfAnyBoard(): string[] {
  return boards.flatMap(({ templating }: BoardFile) => templating.list.map(({ name }) => name))
}

function attributesIn(traceql: string): string[] {
  return [...traceql.matchAll(/span\.([a-z_.]+[a-z_])/g)].map(match => match[1] ?? '')
}

function overlaps(panels: readonly PanelFile[]): string[] {
  return panels.flatMap((a, index) =>
    panels
      .slice(index + 1)
      .filter(
        ({ gridPos: b }) =>
          a.gridPos.x < b.x + b.w && b.x < a.gridPos.x + a.gridPos.w && a.gridPos.y < b.y + b.h && b.y < a.gridPos.y + a.gridPos.h,
      )
      .map(b => `${a.id} and ${b.id}`),
  )
}
