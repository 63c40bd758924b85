import { UNKNOWN_CALLER } from '../domain/caller-site.ts'
import type { BypassPolicy } from '../domain/enums.ts'
import type { ConfigEvent } from '../domain/events.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { packageVersion } from '../tools/own-package.ts'

/** What a process runs with: two starts with other settings, policies or versions show what changed between them. */
export interface StartedWith {
  readonly policy?: BypassPolicy | undefined
  /** Only their digest is stored. */
  readonly settings: object
}

/** The event of a process that begins to use its settings. None of their values is in it. */
export function configEvent({ policy, settings }: StartedWith): ConfigEvent {
  const { label, kind } = UNKNOWN_CALLER
  return {
    kind: 'config',
    startMs: Date.now(),
    durationMs: 0,
    traceId: '',
    spanId: '',
    links: [],
    caller: { label, kind },
    isError: false,
    steps: [],
    standsFor: 1,
    version: packageVersion(),
    policy,
    settingsDigest: fingerprint(JSON.stringify(settings)),
  }
}
