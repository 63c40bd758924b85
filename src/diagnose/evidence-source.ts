import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import type { Attributes } from '@opentelemetry/api'
import { GatewayError } from '../domain/gateway-error.ts'
import { readRecorderFile, readRecords } from '../events/disk-records.ts'
import type { RecordedSpans, SpanRange } from '../events/recorded-spans.ts'
import type { SpanTable } from '../events/recorder-schema.ts'
import type { SpanRow } from '../events/span-row.ts'
import { unreadable } from '../store/store-failure.ts'
import { Evidence, type OnRead } from './evidence.ts'
import { otlpSpans } from './otlp-spans.ts'
import { READ_ATTRIBUTES, READ_EVENTS } from './read-by-rules.ts'

export interface EvidenceOptions {
  /** Only what ended at this moment or later, epoch ms. @default `EVIDENCE_DEFAULTS.rangeMs` before now */
  readonly sinceMs?: number
  /** Newest spans of a recorder that are looked at, of each kind. @default EVIDENCE_DEFAULTS.most */
  readonly most?: Readonly<Record<SpanTable, number>>
  /** Called now and then with the number of spans that were read. */
  readonly onRead?: OnRead
}

export const EVIDENCE_DEFAULTS = {
  /** 7 days: as long as a recorder keeps spans, unless it is set otherwise. */
  rangeMs: 7 * 86_400_000,
  /** More than a recorder of the usual size holds; what takes some 100 MB of memory. */
  most: { interesting: 30_000, ordinary: 10_000 },
} as const

/** Distinct texts of which one copy serves all spans. */
const MOST_WORDS = 20_000
const LONGEST_WORD = 200

/** How every SQLite database begins (sqlite.org/fileformat.html section 1.3). */
const SQLITE_MAGIC = Buffer.from('SQLite format 3\0')
/** Longest file that is read into memory whole, in bytes. */
const LONGEST_FILE = 1024 * 1024 * 1024

/** Evidence of an open recorder: the one in memory, or one on disk. */
export function evidenceOf(recorder: Pick<RecordedSpans, 'gaps' | 'spans'>, options: EvidenceOptions = {}): Evidence {
  const { onRead, most = EVIDENCE_DEFAULTS.most } = options
  const spans = recorder.spans({ sinceMs: startOfRange(options), most })
  return new Evidence(spans, { gaps: () => recorder.gaps, ...(onRead && { onRead }) })
}

/** Evidence of what the processes of a state folder have recorded. @throws {GatewayError} as `readRecords` */
export function evidenceIn(folder: string, options: EvidenceOptions = {}): Evidence {
  return readRecords(folder, records => evidenceOf(new LightSpans(records), options))
}

/**
 * Evidence of a file: a recorder's, or traces in OTLP JSON. The file is never changed.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, or `GW_CONFIG` for a file of another kind.
 */
export function evidenceFrom(path: string, options: EvidenceOptions = {}): Evidence {
  // A file of another time, from another machine: all of it is asked about unless a time is named.
  const { sinceMs = 0, onRead } = options
  if (startOf(path).equals(SQLITE_MAGIC))
    return readRecorderFile(path, records => evidenceOf(new LightSpans(records), { ...options, sinceMs }))
  requireShort(path)
  const spans = otlpSpans(path, readWhole(path))
  return new Evidence(
    spans.filter(({ startMs, durationMs }) => startMs + durationMs >= sinceMs),
    onRead && { onRead },
  )
}

function startOfRange({ sinceMs = Date.now() - EVIDENCE_DEFAULTS.rangeMs }: EvidenceOptions): number {
  return sinceMs
}

/** Spans of a file as evidence keeps them: with what rules read alone, and with one copy of a text that repeats. */
class LightSpans implements Pick<RecordedSpans, 'gaps' | 'spans'> {
  readonly #records: Pick<RecordedSpans, 'gaps' | 'spans'>
  readonly #words = new Map<string, string>()

  constructor(records: Pick<RecordedSpans, 'gaps' | 'spans'>) {
    this.#records = records
  }

  get gaps(): RecordedSpans['gaps'] {
    return this.#records.gaps
  }

  *spans(range?: SpanRange): Generator<SpanRow> {
    for (const { events, attributes, ...span } of this.#records.spans(range)) {
      yield {
        ...span,
        name: this.#word(span.name),
        attributes: this.#light(attributes),
        events: events
          .filter(({ name }) => READ_EVENTS.has(name))
          .map(event => ({ name: this.#word(event.name), atMs: event.atMs, attributes: this.#light(event.attributes) })),
      }
    }
  }

  #light(attributes: SpanRow['attributes']): SpanRow['attributes'] {
    const light: Attributes = {}
    for (const [name, value] of Object.entries(attributes))
      if (READ_ATTRIBUTES.has(name)) light[name] = typeof value === 'string' ? this.#word(value) : value
    return light
  }

  #word(text: string): string {
    if (text.length > LONGEST_WORD) return text
    const known = this.#words.get(text)
    if (known !== undefined) return known
    if (this.#words.size < MOST_WORDS) this.#words.set(text, text)
    return text
  }
}

function startOf(path: string): Buffer {
  const found = readable(path, () => statSync(path))
  if (!found.isFile())
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

/** A recorder is read row by row; traces in JSON are read whole. */
function requireShort(path: string): void {
  if (readable(path, () => statSync(path)).size > LONGEST_FILE)
    throw new GatewayError('GW_CONFIG', `${path} is larger than 1 GiB: cut it down to the time that matters`, { next: 'fix_configuration' })
}

function readWhole(path: string): Buffer {
  return readable(path, () => readFileSync(path))
}

function readable<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw unreadable(path, cause)
  }
}
