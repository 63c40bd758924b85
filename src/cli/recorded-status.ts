import { readRecords } from '../events/disk-records.ts'
import { acquisitionTable, billingChangeTable, callerTable, fallbackTable } from '../events/queries.ts'
import { callerTables } from './caller-list.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { inWords, textTable } from './table.ts'

/** `gatewatch status --state DIR`: which processes recorded something, and who refreshed in them. Reads only. */
export function recordedStatus(folder: string, output: Output): ExitCode {
  const nowMs = Date.now()
  const { processes, ...callers } = readRecords(folder, records => ({
    processes: records.processes(),
    refreshes: callerTable(records),
    acquisitions: acquisitionTable(records),
    fallbacks: fallbackTable(records),
    billingChanges: billingChangeTable(records),
  }))
  const lines = processes.map(({ pid, role, title, host, startedMs, dropped }) => {
    return [pid, role, title, host, `${inWords(Math.max(0, (nowMs - startedMs) / 1000))} ago`, dropped]
  })
  const listed = textTable(['PID', 'ROLE', 'RUNS', 'HOST', 'STARTED', 'NOT RECORDED'], lines)
  output.show({ processes, ...callers }, `Processes\n${listed}\n\n${callerTables(callers, nowMs)}`)
  return EXIT.good
}
