import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { LABEL_CALLER, LABEL_MODEL, LABEL_PROFILE, LABEL_PROVIDER } from '../otel/semconv.ts'
import { BOARD_TAG, BOARD_UIDS, type BoardKey } from './links.ts'
import { type Panel, PROMETHEUS } from './panel.ts'
import { chosen, observations, series } from './query.ts'

/** A panel with its width in 24ths of the board and its height in rows of 30 pixels. */
interface Placed {
  readonly panel: Panel
  readonly width: number
  readonly height: number
}

interface Row {
  /** Shown above the panels, unless it is the first row of a board. */
  readonly title?: string
  readonly panels: readonly Placed[]
}

export interface Board {
  readonly key: BoardKey
  /** `Gatewatch / Topic`. */
  readonly title: string
  /** The question the board answers, in a sentence. */
  readonly question: string
  readonly rows: readonly Row[]
  /** The board asks for a model too. */
  readonly hasModel?: boolean
  /** The board has panels or links that need Tempo. */
  readonly hasTraces?: boolean
}

const COLUMNS = 24

export function placed(panel: Panel, width: number, height: number): Placed {
  return { panel, width, height }
}

/** The board as Grafana 10 to 13 load it: classic JSON, schema 42. The same board is the same text, byte for byte. */
export function buildBoard(board: Board): Dashboard {
  const builder = new DashboardBuilder(board.title)
    .uid(BOARD_UIDS[board.key])
    .description(board.question)
    .tags([BOARD_TAG])
    .readonly()
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: 'now-6h', to: 'now' })
    .refresh('30s')
    .link(
      new DashboardLinkBuilder('Gatewatch')
        .type(DashboardLinkType.Dashboards)
        .tags([BOARD_TAG])
        .asDropdown(true)
        .includeVars(true)
        .keepTime(true),
    )
  addVariables(builder, board)
  addPanels(builder, board)
  return withoutMenus(builder.build())
}

/** The SDK puts every link into a menu of Grafana 12; ours stand where they are seen. */
function withoutMenus(dashboard: Dashboard): Dashboard {
  return JSON.parse(JSON.stringify(dashboard, (key, value) => (key === 'placement' && value === 'inControlsMenu' ? undefined : value)))
}

function addVariables(builder: DashboardBuilder, { hasModel, hasTraces }: Board): void {
  builder.withVariable(new DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'))
  if (hasTraces) builder.withVariable(new DatasourceVariableBuilder('tempo').label('Tempo').type('tempo'))
  const ofProvider = { [LABEL_PROVIDER]: chosen(LABEL_PROVIDER) }
  builder.withVariable(choice(LABEL_PROVIDER, 'Provider', series('profileState')))
  builder.withVariable(choice(LABEL_PROFILE, 'Profile', series('profileState', ofProvider)))
  // A caller may only refresh, only acquire at the gate, only call the provider, or only sign in.
  const callers = [
    series('acquisitions', ofProvider),
    ...(['refreshDuration', 'attemptDuration', 'operationDuration'] as const).map(key => observations(key, ofProvider)),
  ]
  builder.withVariable(choice(LABEL_CALLER, 'Caller', oneSelector(callers)))
  if (hasModel) builder.withVariable(choice(LABEL_MODEL, 'Model', observations('attemptDuration', ofProvider)))
}

/** A variable with the values of a label; all of them unless one is chosen. `.+`, so that All needs the label too. */
function choice(label: string, title: string, selector: string): QueryVariableBuilder {
  return new QueryVariableBuilder(label)
    .label(title)
    .datasource(PROMETHEUS)
    .query({ query: `label_values(${selector}, ${label})`, refId: 'values' })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .includeAll(true)
    .allValue('.+')
    .multi(true)
    .current({ selected: true, text: 'All', value: '$__all' })
}

/** Several metrics with equal matchers as one selector: `label_values` takes no expression. */
function oneSelector(selectors: readonly string[]): string {
  const names = selectors.map(selector => selector.slice(0, selector.indexOf('{')))
  const [first = ''] = selectors
  return `{__name__=~"${names.join('|')}", ${first.slice(first.indexOf('{') + 1)}`
}

function addPanels(builder: DashboardBuilder, { rows }: Board): void {
  let id = 1
  let y = 0
  for (const { title, panels } of rows) {
    if (title !== undefined) {
      builder.withRow(new RowBuilder(title).id(id++).gridPos({ x: 0, y, w: COLUMNS, h: 1 }))
      y += 1
    }
    let x = 0
    let tallest = 0
    for (const { panel, width, height } of panels) {
      if (x + width > COLUMNS) {
        x = 0
        y += tallest
        tallest = 0
      }
      const built = panel.build(id++, { x, y, w: width, h: height })
      builder.withPanel({ build: () => built })
      x += width
      tallest = Math.max(tallest, height)
    }
    y += tallest
  }
}
