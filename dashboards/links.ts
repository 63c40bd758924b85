import { ATTR_CALLER, ATTR_REASON, LABEL_PROVIDER } from '../otel/semconv.ts'

/** The boards by the name of their file. A uid is part of links people keep: it never changes. */
export const BOARD_UIDS = {
  overview: 'gatewatch-overview',
  whoRefreshes: 'gatewatch-who-refreshes',
  profileFallback: 'gatewatch-profile-fallback',
  providerCalls: 'gatewatch-provider-calls',
  inside: 'gatewatch-inside',
} as const
export type BoardKey = keyof typeof BOARD_UIDS

/** The tag of all boards; the dropdown on each lists them by it. */
export const BOARD_TAG = 'gatewatch'

export interface Link {
  readonly title: string
  readonly url: string
}

/** To another board at the same time with the same choices. @param cells Variable by field of the row that is clicked. */
export function toBoard(title: string, board: BoardKey, cells: Readonly<Record<string, string>> = {}): Link {
  const chosen = Object.entries(cells).map(([variable, field]) => `&var-${variable}=\${__data.fields.${field}}`)
  const kept = `\${datasource:queryparam}${LABEL_PROVIDER in cells ? '' : `&\${${LABEL_PROVIDER}:queryparam}`}`
  return { title, url: `/d/${BOARD_UIDS[board]}?\${__url_time_range}&${kept}${chosen.join('')}` }
}

/** To the traces in Tempo. @param traceql May hold `${...}`, which Grafana fills in. */
function toTraces(title: string, traceql: string): Link {
  const pane = {
    datasource: `\${tempo}`,
    queries: [{ refId: 'A', datasource: { type: 'tempo', uid: `\${tempo}` }, queryType: 'traceql', query: traceql }],
    range: { from: `\${__from}`, to: `\${__to}` },
  }
  return { title, url: `/explore?schemaVersion=1&panes=${encoded(JSON.stringify({ traces: pane }))}` }
}

/** Traces of the caller, and where the row has it the reason, that stand in the row that is clicked. */
export function toTracesOfRow({ reason }: { reason: boolean }): Link {
  const caller = attribute(ATTR_CALLER, `\${__data.fields.caller}`)
  const conditions = reason ? `${caller} && ${attribute(ATTR_REASON, `\${__data.fields.reason}`)}` : caller
  return toTraces('Traces in Tempo', `{ ${conditions} }`)
}

/** `span.x = "value"` of TraceQL. */
export function attribute(name: string, value: string): string {
  return `span.${name} = "${value}"`
}

/** Encodes all but Grafana's `${...}`. */
function encoded(text: string): string {
  return text
    .split(/(\$\{[^}]*\})/)
    .map((part, index) => (index % 2 === 1 ? part : encodeURIComponent(part)))
    .join('')
}
