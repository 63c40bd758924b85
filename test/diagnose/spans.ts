import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_CODE_FILE,
  ATTR_CODE_LINE,
  ATTR_OUTCOME,
  ATTR_PERMANENT,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_REASON,
  ATTR_REFRESH_FINGERPRINT_AFTER,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_VIA,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { Evidence, type InputProcess, type PlainSpan } from '../../src/diagnose/evidence.ts'

export const START_MS = Date.UTC(2026, 9, 1, 12)
export const WORK = 'openai-codex:work'

/** Processes of the spans that follow. */
export const GATEWAY: InputProcess = { pid: 100, role: 'gateway', title: 'gateway.js', host: 'aaaaaaaaaaaa' }
export const CLI: InputProcess = { pid: 200, role: 'cli', title: 'cli.js', host: 'aaaaaaaaaaaa' }

let made = 0

/** A span as a recorder would hand it over; `at` is in seconds after the start. */
export function span(name: string, at: number, { attributes = {}, ...rest }: Partial<PlainSpan> = {}): PlainSpan {
  made += 1
  const id = made.toString(16).padStart(16, '0')
  return {
    traceId: id.repeat(2),
    spanId: id,
    parentSpanId: undefined,
    name,
    startMs: START_MS + at * 1000,
    durationMs: 100,
    status: 'unset',
    attributes,
    events: [],
    links: [],
    ...rest,
  }
}

export interface Refreshed {
  readonly sent?: string
  readonly received?: string
  readonly outcome?: string
  readonly permanent?: boolean
  readonly reason?: string
  readonly via?: string
  readonly profile?: string
  readonly process?: InputProcess
  readonly more?: PlainSpan['attributes']
  readonly events?: PlainSpan['events']
}

/** A refresh; one with `permanent` has failed. */
export function refresh(at: number, options: Refreshed = {}): PlainSpan {
  const {
    sent,
    received,
    outcome = 'rotated',
    permanent,
    reason = 'expiring',
    via = 'gate',
    profile = WORK,
    process,
    more,
    events = [],
  } = options
  return span(SPAN_REFRESH, at, {
    status: permanent === undefined ? 'unset' : 'error',
    events,
    ...(process && { process }),
    attributes: {
      [ATTR_PROVIDER]: 'openai-codex',
      [ATTR_PROFILE]: profile,
      [ATTR_CALLER]: 'src/agent.ts#answer',
      [ATTR_CODE_FILE]: 'src/agent.ts',
      [ATTR_CODE_LINE]: 12,
      [ATTR_REASON]: reason,
      [ATTR_VIA]: via,
      [ATTR_OUTCOME]: outcome,
      ...(permanent !== undefined && { [ATTR_PERMANENT]: permanent }),
      ...(sent !== undefined && { [ATTR_REFRESH_FINGERPRINT_BEFORE]: sent }),
      ...(received !== undefined && { [ATTR_REFRESH_FINGERPRINT_AFTER]: received }),
      ...more,
    },
  })
}

/** A single request to a provider. */
export function attempt(at: number, outcome: string, more: PlainSpan['attributes'] = {}): PlainSpan {
  return span('chat gpt-5.5', at, {
    status: outcome === 'ok' ? 'unset' : 'error',
    attributes: { [ATTR_PROVIDER]: 'openai-codex', [ATTR_PROFILE]: WORK, [ATTR_ATTEMPT_OUTCOME]: outcome, ...more },
  })
}

export function evidence(...spans: readonly PlainSpan[]): Evidence {
  return new Evidence(spans)
}
