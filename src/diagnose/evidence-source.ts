import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { GatewayError } from '../domain/gateway-error.ts'
import { readRecorderFile, readRecords } from '../recorder/disk-records.ts'
import type { RecordedSpans } from '../recorder/recorded-spans.ts'
import { unreadable } from '../store/store-failure.ts'
import { Evidence, type OnRead } from './evidence.ts'
import { otlpSpans } from './otlp-spans.ts'

export interface EvidenceOptions {
  /** Only what ended at this moment or later, epoch ms. @default everything that is kept */
  readonly sinceMs?: number
  /** Told now and then how many spans were read. */
  readonly onRead?: OnRead
}

/** How every SQLite database begins (sqlite.org/fileformat.html section 1.3). */
const SQLITE_MAGIC = Buffer.from('SQLite format 3\0')
/** Longest file that is read into memory whole, in bytes. */
const LONGEST_FILE = 1024 * 1024 * 1024

/** Evidence of an open recorder: the one in memory, or one on disk. */
export function evidenceOf(recorder: RecordedSpans, { sinceMs, onRead }: EvidenceOptions = {}): Evidence {
  return new Evidence(recorder.spans(sinceMs), onRead)
}

/** Evidence of everything that the processes of a state folder have recorded. @throws {GatewayError} as `readRecords` */
export function evidenceIn(folder: string, options: EvidenceOptions = {}): Evidence {
  return readRecords(folder, records => evidenceOf(records, options))
}

/**
 * Evidence of a file: a recorder's, or traces in OTLP JSON. The file is never changed.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, or `GW_CONFIG` for a file of another kind.
 */
export function evidenceFrom(path: string, options: EvidenceOptions = {}): Evidence {
  if (startOf(path).equals(SQLITE_MAGIC)) return readRecorderFile(path, records => evidenceOf(records, options))
  const spans = otlpSpans(path, readWhole(path))
  const { sinceMs = 0, onRead } = options
  return new Evidence(
    spans.filter(({ startMs, durationMs }) => startMs + durationMs >= sinceMs),
    onRead,
  )
}

function startOf(path: string): Buffer {
  const found = readable(path, () => statSync(path))
  if (!found.isFile())
    throw new GatewayError('GW_CONFIG', `${path} is no file: with --state a folder can be named`, { next: 'fix_configuration' })
  if (found.size > LONGEST_FILE)
    throw new GatewayError('GW_CONFIG', `${path} is larger than 1 GiB: cut it down to the time that matters`, { next: 'fix_configuration' })
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
