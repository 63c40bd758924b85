import type { DatabaseSync } from 'node:sqlite'
import type { EventProcess } from '../../domain/events.ts'
import { eventProcessOf } from '../event-row.ts'

/** A process that recorded events. */
export interface RecordingProcess extends EventProcess {
  /** Events that it could not record. */
  readonly dropped: number
  /** It exports to OpenTelemetry itself. */
  readonly exports: boolean
}

/** The processes that recorded something, the latest first. */
export function recordingProcesses(database: DatabaseSync): RecordingProcess[] {
  return database
    .prepare('SELECT pid, role, started_ms, title, host, exports, dropped FROM process ORDER BY seen_ms DESC, id DESC')
    .all()
    .map(row => ({ ...eventProcessOf(row), dropped: Number(row.dropped), exports: row.exports === 1 }))
}
