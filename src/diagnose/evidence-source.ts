import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import type { EventCaller, GatewatchEvent } from '../domain/events.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { EventReader } from '../events/event-reader.ts'
import type { KeepClass } from '../events/event-schema.ts'
import { readEventFile, readEvents } from '../events/read-events.ts'
import { unreadable } from '../store/store-failure.ts'
import { Evidence, endMsOf, type OnRead } from './evidence.ts'
import { otlpEvents } from './otlp-events.ts'

export interface EvidenceOptions {
  /** Only events that ended at this moment or later, epoch ms. @default `EVIDENCE_DEFAULTS.rangeMs` before now */
  readonly sinceMs?: number
  /** How many of the newest events of each class are read from an event store. @default EVIDENCE_DEFAULTS.most */
  readonly most?: Readonly<Record<KeepClass, number>>
  /** Called with the number of events that were read so far. */
  readonly onRead?: OnRead
}

const EVIDENCE_DEFAULTS = {
  /** 7 days: as long as a store keeps events, unless it is set otherwise. */
  rangeMs: 7 * 86_400_000,
  /** More than a store of the usual size holds; they take some 100 MB of memory. */
  most: { kept: 30_000, bulk: 10_000 },
} as const

/** How every SQLite database begins (sqlite.org/fileformat.html section 1.3). */
const SQLITE_MAGIC = Buffer.from('SQLite format 3\0')
/** Longest file that is read into memory whole, in bytes. */
const LONGEST_FILE = 1024 * 1024 * 1024

/** Evidence of an open event store: what is read is complete when the constructor of `Evidence` returns. */
function evidenceOf(database: DatabaseSync, options: EvidenceOptions = {}): Evidence {
  const { onRead, sinceMs = Date.now() - EVIDENCE_DEFAULTS.rangeMs, most = EVIDENCE_DEFAULTS.most } = options
  // Stacks are most of what is recorded, and no rule reads them.
  const reader = new EventReader(database, { withStacks: false })
  return new Evidence(withSharedCallers(reader.events({ sinceMs, most })), { gaps: () => reader.gaps, ...(onRead && { onRead }) })
}

/** Evidence of what the processes of a state folder have recorded. @throws {GatewayError} as `readEvents` */
export function evidenceIn(folder: string, options: EvidenceOptions = {}): Evidence {
  return readEvents(folder, database => evidenceOf(database, options))
}

/**
 * Evidence of a file: an event store, or traces in OTLP JSON. The file is never changed.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, or `GW_CONFIG` for a file of another kind.
 */
export function evidenceFrom(path: string, options: EvidenceOptions = {}): Evidence {
  // A file may be older than the usual range: all of it is read unless a range is named.
  const { sinceMs = 0, onRead } = options
  if (startOf(path).equals(SQLITE_MAGIC)) return readEventFile(path, database => evidenceOf(database, { ...options, sinceMs }))
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

/** Events without stacks, and with one copy of a caller for all events of a caller site. */
function* withSharedCallers(events: Iterable<GatewatchEvent>): Generator<GatewatchEvent> {
  const callers = new Map<string, EventCaller>()
  // A stack without an id stands in the row itself.
  const light = ({ stack: _, ...caller }: EventCaller): EventCaller => {
    const key = [caller.label, caller.stackId, caller.file, caller.line, caller.column].join(' ')
    const known = callers.get(key) ?? caller
    callers.set(key, known)
    return known
  }
  for (const event of events) {
    const { caller, steps } = event
    yield { ...event, caller: light(caller), steps: steps.map(step => (step.caller ? { ...step, caller: light(step.caller) } : step)) }
  }
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
