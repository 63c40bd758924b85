import type { ProbeResult } from '../calls/probe.ts'
import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { type EventCounts, eventCounts } from '../events/queries/counts.ts'
import { recordingProcesses } from '../events/queries/processes.ts'
import { readEvents } from '../events/read-events.ts'
import { type AskedGatewayOptions, ask, askedGateway } from './gateway-client.ts'
import { EXIT, type ExitCode, inWords, type Output, textTable } from './output.ts'
import { callerTables, exitCodeOf, exitCodeOfProbes, profileTable, worseOf } from './result-tables.ts'

interface StatusOptions extends AskedGatewayOptions {
  /** Let the gateway probe every profile first. */
  probe?: boolean
  /** State folder that is read in place of asking a gateway. */
  state?: string
}

/** `gatewatch status`: asks the running gateway what its profiles can do and who refreshes; or a state folder, who refreshed. */
export async function statusCommand({ probe = false, state, ...asked }: StatusOptions, output: Output): Promise<ExitCode> {
  if (state !== undefined) return recordedStatus(state, output)
  const { url, key } = await askedGateway(asked)
  try {
    const probes = probe ? (await ask<{ probes: ProbeResult[] }>(url, '/ops/probe', key, 'POST')).probes : undefined
    const { profiles } = await ask<{ profiles: ProfileSnapshot[] }>(url, '/ops/data/status', key)
    const callers = await ask<EventCounts>(url, '/ops/data/counts', key)
    output.show({ profiles, ...(probes && { probes }), ...callers }, `${profileTable(profiles)}\n\n${callerTables(callers, Date.now())}`)
    return probes ? worseOf(exitCodeOf(profiles), exitCodeOfProbes(probes)) : exitCodeOf(profiles)
  } catch (error) {
    if (error instanceof GatewayError) throw error
    output.note(`no gateway answers at ${url}: start it with "gatewatch serve", or name its address with --url`)
    return EXIT.unreachable
  }
}

/** `gatewatch status --state DIR`: which processes recorded something, and who refreshed in them. Reads only. */
function recordedStatus(folder: string, output: Output): ExitCode {
  const nowMs = Date.now()
  const { processes, ...callers } = readEvents(folder, database => ({
    processes: recordingProcesses(database),
    ...eventCounts(database),
  }))
  const lines = processes.map(({ pid, role, title, host, startedMs, dropped }) => {
    return [pid, role, title, host, `${inWords(Math.max(0, (nowMs - (startedMs ?? nowMs)) / 1000))} ago`, dropped]
  })
  const listed = textTable(['PID', 'ROLE', 'RUNS', 'HOST', 'STARTED', 'NOT RECORDED'], lines)
  output.show({ processes, ...callers }, `Processes\n${listed}\n\n${callerTables(callers, nowMs)}`)
  return EXIT.good
}
