import { mkdirSync, writeFileSync } from 'node:fs'
import { EMBEDDED_METRICS } from '../dashboards/embedded-metrics.ts'
import { prometheusLabel, prometheusName } from './prometheus-name.ts'
import type * as names from './semconv.ts'
import {
  ATTRIBUTES,
  type AttributeDefinition,
  EVENT_ANSWER_RECEIVED,
  EVENT_BILLING_CHANGED,
  EVENT_BYPASS,
  EVENT_CREDENTIAL_RELOADED,
  EVENT_FALLBACK,
  EVENT_FIRST_CHUNK,
  EVENT_HELD_BACK,
  EVENT_JOINED,
  EVENT_LEASE_HELD,
  EVENT_LEASE_LOST,
  EVENT_LEASE_REQUESTED,
  EVENT_PERSISTED,
  EVENT_PUBLISHED,
  EVENT_REPLAY,
  EVENT_REQUEST_SENT,
  EVENT_SENDER_AWAITED,
  EVENT_SKIPPED,
  EVENT_WAITING_ENDED,
  METRICS,
  type MetricDefinition,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_DEVICE,
  SPAN_EXCHANGE,
  SPAN_IMPORT,
  SPAN_LOGIN,
  SPAN_PROBE,
  SPAN_REFRESH,
  SPAN_REVOKE,
  SPAN_SIDE_CHANNEL,
} from './semconv.ts'

/** The names of one kind, by the prefix of their constants. */
type NameOf<Prefix extends string> = (typeof names)[Extract<keyof typeof names, `${Prefix}_${string}`>]

const FOLDER = new URL('../docs/reference/', import.meta.url)
const WRITTEN_BY = '<!-- Written by `npm run reference` from otel/semconv.ts. Do not edit. -->'

/** When a span is there; a span that has no line here does not compile. */
const SPANS: Readonly<Record<NameOf<'SPAN'>, string>> = {
  [SPAN_CALL]: 'One provider call as its caller sees it, over all attempts.',
  [SPAN_ACQUIRE]:
    'One acquisition at the refresh gate, linked to the refresh it led or joined; under the policy coalesce, one refresh of a watched process that got the answer of another.',
  [SPAN_REFRESH]:
    'One refresh, from asking for the lease to the persisted credential; or one token request that went past the gate, or that a watched process made.',
  [SPAN_LOGIN]: 'A login: a user signs in, by Gatewatch or by the application.',
  [SPAN_EXCHANGE]: 'The exchange of a code for tokens, by Gatewatch or by the application.',
  [SPAN_DEVICE]: 'A login with a code that is entered on another device, from asking for the code to its end.',
  [SPAN_REVOKE]: 'A revocation, by Gatewatch or by the application.',
  [SPAN_IMPORT]: 'One import of the logins of another application.',
  [SPAN_PROBE]: 'One probe of a profile, over the call it makes the way any call would go.',
  [SPAN_SIDE_CHANNEL]: 'In a watched process: something other than its HTTP clients reached for a token host.',
}

/** Spans that are called after what they carry, as the conventions of OpenTelemetry ask. */
const COMPOSED_SPANS = {
  '{method} {route}': 'A request that enters the gateway (HTTP conventions).',
  '{operation} {model}': 'One attempt: one upstream request with one profile (GenAI conventions), such as `chat gpt-5.5`.',
}

/** When an event happens; as with spans, none can be forgotten. */
const EVENTS: Readonly<Record<NameOf<'EVENT'>, string>> = {
  [EVENT_LEASE_REQUESTED]: 'The refresh asks for the lease of its profile.',
  [EVENT_LEASE_HELD]: 'It has the lease.',
  [EVENT_LEASE_LOST]: 'Another process took the lease while the refresh was under way.',
  [EVENT_CREDENTIAL_RELOADED]: 'It has read the stored credential once more.',
  [EVENT_SENDER_AWAITED]:
    'The process that the lease was taken from sent this token, was stopped then, and may go on: its answer is waited for.',
  [EVENT_HELD_BACK]: 'The lease was not held any more when the request was to leave: nothing was sent, the refresh asks again.',
  [EVENT_REQUEST_SENT]: 'The token request leaves.',
  [EVENT_WAITING_ENDED]: 'Its acquisitions stopped waiting (`gate.requestTimeoutMs`); the refresh listens on.',
  [EVENT_ANSWER_RECEIVED]: 'The token endpoint has answered.',
  [EVENT_PERSISTED]: 'The new credential is on disk.',
  [EVENT_PUBLISHED]: 'Its acquisitions have the new credential.',
  [EVENT_BYPASS]: 'A token request went past the gate.',
  [EVENT_REPLAY]: 'A refresh token was sent that had already been rotated away.',
  [EVENT_JOINED]: 'Another caller waited for the same refresh: its caller; in a watched process with deep stacks.',
  [EVENT_SKIPPED]: 'A profile was passed over without an attempt.',
  [EVENT_FALLBACK]: 'The call goes on to the next profile.',
  [EVENT_BILLING_CHANGED]: 'A profile begins to answer that is paid otherwise than the preferred one.',
  [EVENT_FIRST_CHUNK]: 'The first chunk of the answer is there.',
}

const CLASSES: Readonly<Record<AttributeDefinition['class'], string>> = {
  list: '',
  number: 'number',
  boolean: 'true, false',
  digest: 'short hex digest',
  label: 'short word',
  code: 'name, path or stack',
  text: 'text, screened and cut',
}

/** The pages of `docs/reference`, as Markdown, by their file names: spans, events, attributes and metrics. */
export function referencePages(): Readonly<Record<string, string>> {
  return {
    'spans.md': page(
      'Spans',
      'Every span that Gatewatch starts. Spans of requests and attempts are named by the conventions of OpenTelemetry.',
      table(['span', 'when'], rowsOf({ ...SPANS, ...COMPOSED_SPANS })),
    ),
    'events.md': page('Span events', 'Events on the spans of [spans.md](spans.md).', table(['event', 'when'], rowsOf(EVENTS))),
    'attributes.md': page(
      'Attributes',
      'Every attribute that may leave the process. Redaction drops any other one. Where the column *values* lists words, no other value occurs.',
      table(['attribute', 'values', 'meaning'], Object.entries(ATTRIBUTES).map(attributeRow)),
    ),
    'metrics.md': page(
      'Metrics',
      'Every metric, with its name in OpenTelemetry and in Prometheus. Durations are in seconds. The last column says what reports it in an application that embeds Gatewatch around a gateway of its own ([embed.md](../embed.md)); `gatewatch serve` reports all of them.',
      table(
        ['metric', 'in Prometheus', 'type, unit', 'labels', 'what it counts', 'in an application'],
        (Object.keys(METRICS) as names.MetricKey[]).map(metricRow),
      ),
    ),
  }
}

function page(title: string, about: string, body: string): string {
  return `${WRITTEN_BY}\n\n# ${title}\n\n${about}\n\n${body}\n`
}

function rowsOf(texts: Readonly<Record<string, string>>): string[][] {
  return Object.entries(texts).map(([name, text]) => [code(name), text])
}

function attributeRow([name, { class: kind, values, help }]: [string, AttributeDefinition]): string[] {
  return [code(name), values ? values.map(code).join(' ') : CLASSES[kind], help]
}

function metricRow(key: names.MetricKey): string[] {
  const metric: MetricDefinition = METRICS[key]
  const embedded = EMBEDDED_METRICS[key]
  const reported = 'by' in embedded ? embedded.by : `not applicable: ${embedded.notApplicable}`
  const labels = metric.labels.map(label => code(prometheusLabel(label))).join(' ')
  return [code(metric.name), code(prometheusName(metric)), `${metric.kind}, ${code(metric.unit)}`, labels, metric.help, reported]
}

function code(text: string): string {
  return `\`${text}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map(row => `| ${row.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n')
}

if (import.meta.main) {
  mkdirSync(FOLDER, { recursive: true })
  for (const [name, text] of Object.entries(referencePages())) writeFileSync(new URL(name, FOLDER), text)
}
