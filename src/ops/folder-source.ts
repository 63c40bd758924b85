import { concerning } from '../diagnose/diagnose.ts'
import { diagnosisOf } from '../diagnose/running-diagnosis.ts'
import { nothingRecorded } from '../events/event-failure.ts'
import { eventFile, requireOwnEventFile } from '../events/event-file.ts'
import { EventStore } from '../events/event-store.ts'
import type { OpsDataSource } from './ops-page.ts'

/** The state folder of watched processes. One in which nothing is recorded yet is shown as that, and read again. */
export function folderSource({ folder, version }: { readonly folder: string; readonly version: string }): OpsDataSource {
  const events = new EventStore({ folder, thread: 'preferred' })
  const diagnosis = diagnosisOf(events)
  return {
    ...{ kind: 'folder', title: folder, version, events, canProbe: false },
    trouble: () =>
      requireOwnEventFile(eventFile(folder)) ? undefined : nothingRecorded(folder, 'the folder holds no events.sqlite').message,
    findings: async ({ sinceMs, profile }) => {
      const found = await diagnosis.of(sinceMs)
      return profile === undefined ? found : concerning(found, [profile])
    },
  }
}
