import { TableSortByFieldStateBuilder } from '@grafana/grafana-foundation-sdk/common'
import type { DynamicConfigValue } from '@grafana/grafana-foundation-sdk/dashboard'
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table'
import { prometheusLabel } from '../otel/prometheus-name.ts'
import type { Link } from './links.ts'
import { instantTarget, letter, type Panel, type PanelFacts, styled, TEMPO, traceTarget } from './panel.ts'
import { UNITS, type Unit } from './theme.ts'

/** A column with numbers: one query, joined with the others by the labels. */
interface PanelColumn {
  readonly title: string
  readonly expression: string
  readonly unit: Unit
}

interface TableFacts extends PanelFacts {
  /** Labels that make a row, in the order of the columns. */
  readonly rows: readonly string[]
  readonly columns: readonly PanelColumn[]
  /** Links of the cells of a label's column. */
  readonly cellLinks?: Readonly<Record<string, readonly Link[]>>
}

/** A table of instant queries, joined by their labels, sorted by the first number. */
export function tablePanel(facts: TableFacts): Panel {
  const { rows, columns, cellLinks = {} } = facts
  const legend = rows.map(label => `{{${prometheusLabel(label)}}}`).join(' ')
  const queries = columns.map(({ expression }, index) => ({ expression, legend, refId: letter(index) }))
  return {
    ...facts,
    queries,
    build(id, place) {
      const builder = styled(new TableBuilder(), facts, id, place)
      for (const [index, { expression, refId }] of queries.entries()) builder.withTarget(instantTarget({ expression, refId }, index))
      // One query alone keeps the name `Value`; joined ones carry their refId.
      const numberField = (index: number) => (columns.length === 1 ? 'Value' : `Value #${letter(index)}`)
      if (columns.length > 1) builder.withTransformation({ id: 'merge', options: {} })
      builder.withTransformation({
        id: 'organize',
        options: {
          excludeByName: { Time: true },
          indexByName: Object.fromEntries(
            [...rows.map(prometheusLabel), ...columns.map((_, index) => numberField(index))].map((name, at) => [name, at]),
          ),
          renameByName: Object.fromEntries(columns.map(({ title }, index) => [numberField(index), title])),
        },
      })
      for (const { title, unit } of columns)
        builder.overrideByName(title, [{ id: 'unit', value: UNITS[unit] }, ...(unit === 'count' ? [{ id: 'decimals', value: 0 }] : [])])
      for (const [label, links] of Object.entries(cellLinks)) builder.overrideByName(prometheusLabel(label), linksOf(links))
      const [first] = columns
      if (first) builder.sortBy([new TableSortByFieldStateBuilder().displayName(first.title).desc(true)])
      return builder.build()
    },
  }
}

/** Spans that Tempo finds, newest first; needs Tempo. */
export function spanTable(facts: PanelFacts & { readonly traceql: string }): Panel {
  return {
    ...facts,
    queries: [],
    build: (id, place) => styled(new TableBuilder(), facts, id, place).datasource(TEMPO).withTarget(traceTarget(facts.traceql)).build(),
  }
}

function linksOf(links: readonly Link[]): DynamicConfigValue[] {
  return [{ id: 'links', value: links.map(({ title, url }) => ({ title, url })) }]
}
