import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import type { RunningDiagnosis } from '../diagnose/running-diagnosis.ts'
import type { Recorder } from '../events/recorder.ts'
import type { OpsDataSource } from './data-source.ts'

export interface GatewaySourceOptions {
  readonly title: string
  readonly version: string
  readonly recorder: Recorder
  /** What `diagnose` says of the recorder. */
  readonly diagnosis: RunningDiagnosis
  readonly profiles: () => Promise<readonly ProfileSnapshot[]>
}

/** The gateway of this process, from its recorder in memory. */
export function gatewaySource({ title, version, recorder, diagnosis, profiles }: GatewaySourceOptions): OpsDataSource {
  return {
    ...{ kind: 'gateway', title, version, profiles, canProbe: true },
    read: query => query(recorder),
    feed(add) {
      const before = [...recorder.interesting(), ...recorder.ordinary()]
      const stop = recorder.follow(add)
      for (const span of before.sort((a, b) => a.startMs + a.durationMs - b.startMs - b.durationMs)) add(span)
      return { read: 1, trouble: undefined, unreadable: 0, stop }
    },
    findings: async () => (await diagnosis.of()).findings,
  }
}
