import { basename } from 'node:path'
import type { ProcessRole } from '../domain/enums.ts'
import type { EventProcess } from '../domain/events.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { thisProcess } from '../store/process-identity.ts'

/** The process that recorded a span. */
export interface ProcessRow extends EventProcess {
  readonly startedMs: number
}

const LONGEST_TITLE = 80

/** A row without what only files show: that is left to the thread which writes it. */
export type KnownProcess = Omit<ProcessRow, 'host'>

/** The process this code runs in; from its main thread. @param title What to call it. @default the base name of its script */
export function knownProcess(role: ProcessRole = 'unknown', title?: string): KnownProcess {
  return {
    pid: process.pid,
    role,
    startedMs: Math.round(Date.now() - process.uptime() * 1000),
    title: (title ?? basename(process.argv[1] ?? '')).slice(0, LONGEST_TITLE),
  }
}

/** The whole row of this process; from any of its threads. */
export function processRow(known: KnownProcess): ProcessRow {
  return { ...known, host: fingerprint(thisProcess().host) ?? '' }
}

/** Says whether both rows are of one process, whatever it was called at the time. Workers of a process are that process. */
export function isSameProcessRow(a: EventProcess | undefined, b: EventProcess | undefined): boolean {
  if (!a || !b) return a === b
  return a.pid === b.pid && a.host === b.host && Math.abs((a.startedMs ?? 0) - (b.startedMs ?? 0)) < SAME_START_MS
}

/** The start is reckoned from the clock, which may be set meanwhile; a pid comes round again much later than this. */
const SAME_START_MS = 2_000
