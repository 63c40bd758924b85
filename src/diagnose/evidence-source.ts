import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import type { EventCaller, GatewatchEvent } from '../domain/events.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { readRecorderFile, readRecords } from '../events/disk-records.ts'
import type { RecordedSpans } from '../events/recorded-spans.ts'
import type { SpanTable } from '../events/recorder-schema.ts'
import { unreadable } from '../store/store-failure.ts'
import { type EventSpan, eventOfSpan } from '../telemetry/event-span.ts'
import { Evidence, endMsOf, type OnRead } from './evidence.ts'
import { otlpEvents } from './otlp-events.ts'

export interface EvidenceOptions {
  /** Only events that ended at this moment or later, epoch ms. @default `EVIDENCE_DEFAULTS.rangeMs` before now */
  readonly sinceMs?: number
  /** How many of the newest events of each kind are read from a recorder. @default EVIDENCE_DEFAULTS.most */
  readonly most?: Readonly<Record<SpanTable, number>>
  /** Called with the number of events that were read so far. */
  readonly onRead?: OnRead
}

export const EVIDENCE_DEFAULTS = {
  /** 7 days: as long as a recorder keeps events, unless it is set otherwise. */
  rangeMs: 7 * 86_400_000,
  /** More than a recorder of the usual size holds; they take some 100 MB of memory. */
  most: { interesting: 30_000, ordinary: 10_000 },
} as const

/** How every SQLite database begins (sqlite.org/fileformat.html section 1.3). */
const SQLITE_MAGIC = Buffer.from('SQLite format 3\0')
/** Longest file that is read into memory whole, in bytes. */
const LONGEST_FILE = 1024 * 1024 * 1024

/** Evidence of an open recorder, in memory or on disk. */
export function evidenceOf(recorder: Pick<RecordedSpans, 'gaps' | 'spans'>, options: EvidenceOptions = {}): Evidence {
  const { onRead, sinceMs = Date.now() - EVIDENCE_DEFAULTS.rangeMs, most = EVIDENCE_DEFAULTS.most } = options
  // A damaged row may be a span of another name.
  let others = 0
  const events = eventsOf(recorder.spans({ sinceMs, most }), () => {
    others += 1
  })
  const gaps = () => ({ ...recorder.gaps, unreadable: recorder.gaps.unreadable + others })
  return new Evidence(events, { gaps, ...(onRead && { onRead }) })
}

/** Evidence of what the processes of a state folder have recorded. @throws {GatewayError} as `readRecords` */
export function evidenceIn(folder: string, options: EvidenceOptions = {}): Evidence {
  return readRecords(folder, records => evidenceOf(records, options))
}

/**
 * Evidence of a file: a recorder's, or traces in OTLP JSON. The file is never changed.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, or `GW_CONFIG` for a file of another kind.
 */
export function evidenceFrom(path: string, options: EvidenceOptions = {}): Evidence {
  // A file may be older than the usual range: all of it is read unless a range is named.
  const { sinceMs = 0, onRead } = options
  if (startOf(path).equals(SQLITE_MAGIC)) return readRecorderFile(path, records => evidenceOf(records, { ...options, sinceMs }))
  if (readable(path, () => statSync(path)).size > LONGEST_FILE)
    throw new GatewayError('GW_CONFIG', `${path} is larger than 1 GiB: cut it down to the time that matters`, { next: 'fix_configuration' })
  const events = otlpEvents(
    path,
    readable(path, () => readFileSync(path)),
  )
  return new Evidence(
    events.filter(event => endMsOf(event) >= sinceMs),
    onRead && { onRead },
  )
}

/**
 * The events of recorded spans, without the stacks of their callers: stacks are most of what is recorded, and no rule reads them.
 *
 * @param onOther Called for each span that was not written from an event.
 */
export function* eventsOf(spans: Iterable<EventSpan>, onOther?: () => void): Generator<GatewatchEvent> {
  const callers = new Map<string, EventCaller>()
  for (const span of spans) {
    const event = eventOfSpan(span)
    if (event) yield withoutStacks(event, callers)
    else onOther?.()
  }
}

/** @param callers Callers without their stacks: one copy for all events of a caller site. */
function withoutStacks<E extends GatewatchEvent>(event: E, callers: Map<string, EventCaller>): E {
  const light = ({ stack: _, ...caller }: EventCaller): EventCaller => {
    const key = [caller.label, caller.stackId, caller.file, caller.line, caller.column].join(' ')
    const known = callers.get(key) ?? caller
    callers.set(key, known)
    return known
  }
  const { caller, steps } = event
  return { ...event, caller: light(caller), steps: steps.map(step => (step.caller ? { ...step, caller: light(step.caller) } : step)) }
}

/** The first bytes of a file. */
function startOf(path: string): Buffer {
  if (!readable(path, () => statSync(path)).isFile())
    throw new GatewayError('GW_CONFIG', `${path} is no file: with --state a folder can be named`, { next: 'fix_configuration' })
  return readable(path, () => {
    const descriptor = openSync(path, 'r')
    try {
      const start = Buffer.alloc(SQLITE_MAGIC.length)
      return start.subarray(0, readSync(descriptor, start))
    } finally {
      closeSync(descriptor)
    }
  })
}

function readable<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw unreadable(path, cause)
  }
}
