import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog'
import type { DataSourceRef } from '@grafana/grafana-foundation-sdk/common'
import {
  DashboardLinkBuilder,
  DashboardLinkType,
  type DataTransformerConfig,
  type DynamicConfigValue,
  type GridPos,
  MappingType,
  type Panel as PanelModel,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder as PrometheusQueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus'
import { SearchTableType, DataqueryBuilder as TempoQueryBuilder } from '@grafana/grafana-foundation-sdk/tempo'
import type { Link } from './links.ts'
import { GREEN, RED, UNITS, type Unit } from './theme.ts'

/** One query of a panel. */
export interface Query {
  /** PromQL. */
  readonly expression: string
  /** `{{label}}`s; of a table the labels are columns instead. */
  readonly legend?: string
  /** Names the query where several are joined. @default A, B, C in their order */
  readonly refId?: string
}

/** What every panel says of itself. */
export interface PanelFacts {
  readonly title: string
  /** The question the panel answers, in a sentence; it becomes the description. */
  readonly question: string
  readonly unit?: Unit
  /** From here on it is a failure. */
  readonly redFrom?: number
  /** Below this it is a failure. */
  readonly redBelow?: number
  /** Where the panel's title leads. */
  readonly links?: readonly Link[]
  readonly colours?: Readonly<Record<string, string>>
  /** What is shown where there is nothing. @default it has not happened, or is not reported */
  readonly empty?: string
}

/** What is shown in place of a value that is always there where it is reported: never a 0. */
export const NOT_REPORTED = 'not reported'

/** A panel before it has a place on a board. */
export interface Panel extends PanelFacts {
  readonly queries: readonly Query[]
  /** TraceQL, for panels that ask Tempo. */
  readonly traceql?: string
  build(id: number, place: GridPos): PanelModel
}

export const PROMETHEUS: DataSourceRef = { type: 'prometheus', uid: `\${datasource}` }
export const TEMPO: DataSourceRef = { type: 'tempo', uid: `\${tempo}` }

/** Events are counted over steps of at least this length, so that a bar is more than a scrape. */
export const LEAST_STEP = '1m'

/** The part of the foundation SDK's panel builders that is the same for all of them. */
interface AnyPanelBuilder extends Builder<PanelModel> {
  id(id: number): this
  title(title: string): this
  description(description: string): this
  datasource(datasource: DataSourceRef): this
  gridPos(place: GridPos): this
  unit(unit: string): this
  noValue(noValue: string): this
  interval(interval: string): this
  links(links: Builder<import('@grafana/grafana-foundation-sdk/dashboard').DashboardLink>[]): this
  thresholds(thresholds: ThresholdsConfigBuilder): this
  mappings(mappings: ValueMapping[]): this
  withTarget(target: Builder<Dataquery>): this
  withTransformation(transformation: DataTransformerConfig): this
  overrideByName(name: string, properties: DynamicConfigValue[]): this
  overrideByRegexp(pattern: string, properties: DynamicConfigValue[]): this
}

/** Gives a builder what every panel has. */
export function styled<B extends AnyPanelBuilder>(builder: B, facts: PanelFacts, id: number, place: GridPos): B {
  builder
    .id(id)
    .gridPos(place)
    .title(facts.title)
    .description(facts.question)
    .datasource(PROMETHEUS)
    .noValue(facts.empty ?? 'none reported')
  if (facts.unit) builder.unit(UNITS[facts.unit])
  builder.thresholds(thresholdsOf(facts))
  if (facts.links) builder.links(facts.links.map(linkOf))
  for (const [word, colour] of Object.entries(facts.colours ?? {}))
    builder.overrideByRegexp(`/(^|· )${word}( ·|$)/`, [{ id: 'color', value: { mode: 'fixed', fixedColor: colour } }])
  return builder
}

/** A query whose answer is drawn over time. */
export function rangeTarget({ expression, legend, refId }: Query, index: number, { exemplars = false } = {}): PrometheusQueryBuilder {
  const target = new PrometheusQueryBuilder()
    .datasource(PROMETHEUS)
    .refId(refId ?? letter(index))
    .expr(expression)
    .range()
    .format(PromQueryFormat.TimeSeries)
  if (legend) target.legendFormat(legend)
  return exemplars ? target.exemplar(true) : target
}

/** A query whose answer is one table, or one number. */
export function instantTarget(
  { expression, legend, refId }: Query,
  index: number,
  format: PromQueryFormat = PromQueryFormat.Table,
): PrometheusQueryBuilder {
  const target = new PrometheusQueryBuilder()
    .datasource(PROMETHEUS)
    .refId(refId ?? letter(index))
    .expr(expression)
    .instant()
    .format(format)
  return legend ? target.legendFormat(legend) : target
}

/** A search in Tempo; a row a span. */
export function traceTarget(traceql: string): TempoQueryBuilder {
  return new TempoQueryBuilder().datasource(TEMPO).refId('A').queryType('traceql').query(traceql).tableType(SearchTableType.Spans).limit(50)
}

function linkOf({ title, url }: Link): DashboardLinkBuilder {
  return new DashboardLinkBuilder(title).type(DashboardLinkType.Link).url(url)
}

/** Numbers that stand for words: the state of a profile over time. */
export function mappingOf(words: Readonly<Record<string, { text: string; color: string }>>): ValueMapping {
  return { type: MappingType.ValueToText, options: words }
}

export function letter(index: number): string {
  return String.fromCharCode(65 + index)
}

/** Grafana's default is red from 80 on, whatever the number is; ours is red where it is said. */
function thresholdsOf({ redFrom, redBelow, unit }: PanelFacts): ThresholdsConfigBuilder {
  const steps =
    redFrom !== undefined
      ? [
          { value: null, color: unit === 'share' || unit === 'count' ? GREEN : 'text' },
          { value: redFrom, color: RED },
        ]
      : redBelow !== undefined
        ? [
            { value: null, color: RED },
            { value: redBelow, color: GREEN },
          ]
        : [{ value: null, color: 'text' }]
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps)
}
