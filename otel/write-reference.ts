import { readFileSync, writeFileSync } from 'node:fs'
import { prometheusLabel, prometheusName } from './prometheus-name.ts'
import type * as names from './semconv.ts'
import {
  ATTRIBUTES,
  type AttributeDefinition,
  EVENT_ANSWER_RECEIVED,
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

const README = new URL('../README.md', import.meta.url)
const START = '<!-- reference:start -->'
const END = '<!-- reference:end -->'

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

/** The tables of every span, event, attribute and metric, as Markdown. */
export function reference(): string {
  return [
    '### Spans',
    table(['span', 'when'], rowsOf({ ...SPANS, ...COMPOSED_SPANS })),
    '### Events',
    table(['event', 'when'], rowsOf(EVENTS)),
    '### Attributes',
    table(['attribute', 'values', 'what it says'], Object.entries(ATTRIBUTES).map(attributeRow)),
    '### Metrics',
    table(['metric', 'in Prometheus', 'type, unit', 'labels', 'what it counts'], Object.values(METRICS).map(metricRow)),
  ].join('\n\n')
}

/** `readme` with the reference between its marks as the names have it now. @throws {RangeError} when a mark is missing. */
export function withReference(readme: string): string {
  const start = readme.indexOf(START)
  const end = readme.indexOf(END, start)
  if (start < 0 || end < 0) throw new RangeError(`README.md must hold the lines ${START} and ${END}, in this order`)
  return `${readme.slice(0, start + START.length)}\n\n${reference()}\n\n${readme.slice(end)}`
}

function rowsOf(texts: Readonly<Record<string, string>>): string[][] {
  return Object.entries(texts).map(([name, text]) => [code(name), text])
}

function attributeRow([name, { class: kind, values, help }]: [string, AttributeDefinition]): string[] {
  return [code(name), values ? values.map(code).join(' ') : CLASSES[kind], help]
}

function metricRow(metric: MetricDefinition): string[] {
  const labels = metric.labels.map(label => code(prometheusLabel(label))).join(' ')
  return [code(metric.name), code(prometheusName(metric)), `${metric.kind}, ${code(metric.unit)}`, labels, metric.help]
}

function code(text: string): string {
  return `\`${text}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map(row => `| ${row.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n')
}

if (import.meta.main) writeFileSync(README, withReference(readFileSync(README, 'utf8')))
