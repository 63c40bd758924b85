import { concerning } from '../diagnose/diagnose.ts'
import { RunningDiagnosis } from '../diagnose/running-diagnosis.ts'
import type { GatewatchEvent } from '../domain/events.ts'
import { eventFile, requireOwnEventFile } from '../events/event-file.ts'
import type { EventGaps } from '../events/event-reader.ts'
import { EventStore } from '../events/event-store.ts'
import { nothingRecorded } from '../events/recorder-failure.ts'
import type { OpsDataSource } from './ops-page.ts'

/** Events of each class that `diagnose` reads for the page; the command reads all of them. */
const MOST_DIAGNOSED = 10_000

/** The state folder of watched processes. One in which nothing is recorded yet is shown as that, and read again. */
export function folderSource({ folder, version }: { readonly folder: string; readonly version: string }): OpsDataSource {
  const events = new EventStore({ folder, thread: 'preferred' })
  let last = ''
  const diagnosis = new RunningDiagnosis({
    version: () => last,
    events: ({ sinceMs = 0 }) => newestEvents(events, sinceMs),
  })
  return {
    ...{ kind: 'folder', title: folder, version, events, canProbe: false },
    trouble: () =>
      requireOwnEventFile(eventFile(folder)) ? undefined : nothingRecorded(folder, 'the folder holds no events.sqlite').message,
    findings: async ({ sinceMs, profile }) => {
      last = await events.query('storeVersion', undefined)
      const found = await diagnosis.of(sinceMs)
      return profile === undefined ? found : concerning(found, [profile])
    },
  }
}

/** The newest events, read a piece at a time. */
async function newestEvents(store: EventStore, sinceMs: number): Promise<{ events: GatewatchEvent[]; gaps: () => EventGaps }> {
  const events: GatewatchEvent[] = []
  let unreadable = 0
  let leftOut = 0
  const most = { kept: MOST_DIAGNOSED, bulk: MOST_DIAGNOSED }
  for await (const piece of store.pieces({ sinceMs, most })) {
    for (const event of piece.events) events.push(event)
    unreadable += piece.gaps.unreadable
    leftOut += piece.gaps.leftOut
  }
  return { events, gaps: () => ({ unreadable, leftOut }) }
}
