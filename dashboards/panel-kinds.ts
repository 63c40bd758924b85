import {
  AxisPlacement,
  BigValueColorMode,
  BigValueGraphMode,
  GraphDrawStyle,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common'
import { PanelBuilder as HeatmapBuilder, HeatmapColorOptionsBuilder, YAxisConfigBuilder } from '@grafana/grafana-foundation-sdk/heatmap'
import { PanelBuilder as NodeGraphBuilder } from '@grafana/grafana-foundation-sdk/nodegraph'
import { PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as StateTimelineBuilder } from '@grafana/grafana-foundation-sdk/statetimeline'
import { PanelBuilder as TextBuilder, TextMode } from '@grafana/grafana-foundation-sdk/text'
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries'
import { instantTarget, LEAST_STEP, mappingOf, type Panel, type PanelFacts, type Query, rangeTarget, styled } from './panel.ts'
import { UNITS } from './theme.ts'

interface Drawn extends PanelFacts {
  readonly queries: readonly Query[]
}

/** Lines over time. `bars`: events, stacked. `exemplars`: dots that lead to a trace, on histograms. */
export function timeseries(facts: Drawn & { readonly bars?: boolean; readonly exemplars?: boolean }): Panel {
  const { queries, bars = false, exemplars = false } = facts
  return {
    ...facts,
    build(id, place) {
      const builder = styled(new TimeseriesBuilder(), facts, id, place)
        .min(0)
        .interval(bars ? LEAST_STEP : '')
        .axisPlacement(AxisPlacement.Auto)
        .drawStyle(bars ? GraphDrawStyle.Bars : GraphDrawStyle.Line)
        .fillOpacity(bars ? 80 : 10)
        .showPoints(VisibilityMode.Auto)
        .legend(new VizLegendOptionsBuilder().displayMode(LegendDisplayMode.List).placement(LegendPlacement.Bottom).showLegend(true))
        .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi))
      // `increase` extrapolates: 3 events may come out as 3.01.
      if (bars && facts.unit === 'count') builder.decimals(0)
      if (bars) builder.stacking(new StackingConfigBuilder().mode(StackingMode.Normal))
      for (const [index, query] of queries.entries()) builder.withTarget(rangeTarget(query, index, { exemplars }))
      return builder.build()
    },
  }
}

/** One number for the whole time range. */
export function stat(facts: PanelFacts & { readonly query: Query }): Panel {
  const queries = [facts.query]
  return {
    ...facts,
    queries,
    build(id, place) {
      const builder = styled(new StatBuilder(), facts, id, place)
      if (facts.unit === 'count') builder.decimals(0)
      return builder
        .colorMode(BigValueColorMode.Value)
        .graphMode(BigValueGraphMode.None)
        .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
        .withTarget(instantTarget(facts.query, 0, PromQueryFormat.TimeSeries))
        .build()
    },
  }
}

/** Words over time: `words` is what each number of the query stands for. */
export function stateTimeline(
  facts: Drawn & { readonly words: Readonly<Record<string, { readonly text: string; readonly color: string }>> },
): Panel {
  return {
    ...facts,
    build(id, place) {
      const builder = styled(new StateTimelineBuilder(), facts, id, place)
        .mappings([mappingOf(facts.words)])
        .mergeValues(true)
        .showValue(VisibilityMode.Auto)
      for (const [index, query] of facts.queries.entries()) builder.withTarget(rangeTarget(query, index))
      return builder.build()
    },
  }
}

/** How a distribution moves over time, from a histogram's buckets. */
export function heatmap(facts: PanelFacts & { readonly query: Query }): Panel {
  const queries = [facts.query]
  return {
    ...facts,
    queries,
    build(id, place) {
      const target = rangeTarget(facts.query, 0, { exemplars: true }).format(PromQueryFormat.Heatmap)
      return styled(new HeatmapBuilder(), facts, id, place)
        .interval(LEAST_STEP)
        .calculate(false)
        .color(new HeatmapColorOptionsBuilder().scheme('Blues').steps(32))
        .yAxis(new YAxisConfigBuilder().unit(UNITS[facts.unit ?? 'seconds']))
        .withTarget(target)
        .build()
    },
  }
}

/**
 * Nodes and edges, drawn from plain Prometheus: one instant table of nodes (labels `id`, `title`), one of edges (`id`,
 * `source`, `target`); the value is the number that is shown.
 */
export function nodeGraph(facts: PanelFacts & { readonly nodes: string; readonly edges: string }): Panel {
  const queries = [
    { expression: facts.nodes, refId: 'nodes', legend: '{{id}} {{title}}' },
    { expression: facts.edges, refId: 'edges', legend: '{{id}} {{source}} {{target}}' },
  ]
  return {
    ...facts,
    queries,
    build(id, place) {
      const builder = styled(new NodeGraphBuilder(), facts, id, place)
      for (const [index, { expression, refId }] of queries.entries()) builder.withTarget(instantTarget({ expression, refId }, index))
      const shown = { 'Value #nodes': 'mainstat', 'Value #edges': 'mainstat' }
      return builder.withTransformation({ id: 'organize', options: { excludeByName: { Time: true }, renameByName: shown } }).build()
    },
  }
}

/** A text in Markdown. */
export function text(facts: PanelFacts & { readonly markdown: string }): Panel {
  return {
    ...facts,
    queries: [],
    build: (id, place) =>
      new TextBuilder()
        .id(id)
        .gridPos(place)
        .title(facts.title)
        .description(facts.question)
        .mode(TextMode.Markdown)
        .content(facts.markdown)
        .build(),
  }
}
