import { concerning } from '../diagnose/diagnose.ts'
import { diagnosisOf } from '../diagnose/running-diagnosis.ts'
import type { EventSource } from '../events/event-store.ts'
import type { Gateway } from '../gatewatch/gateway.ts'
import type { OpsDataSource } from '../ops/ops-page.ts'
import { profileName } from '../telemetry/profile-name.ts'

/** What the ops page of a process is made of. */
export interface DataSourceOptions {
  gateway: Gateway
  /** Everything that is observed here. */
  events: EventSource
  /** What the settings were read from: the title of the page. */
  source: string
  /** Version of Gatewatch. */
  version: string
}

/** What the ops page shows of this process. */
export function dataSourceOf({ gateway, events, source: title, version }: DataSourceOptions): OpsDataSource {
  const diagnosis = diagnosisOf(events)
  return {
    ...{ kind: 'gateway', title, version, events, canProbe: true },
    profiles: () => gateway.snapshot(),
    findings: async ({ sinceMs, profile }) => {
      const found = await diagnosis.of(sinceMs)
      // By its configured name, or by the one that telemetry may show.
      return profile === undefined ? found : concerning(found, [profile, profileName(profile), gateway.telemetry.profile(profile)])
    },
  }
}
