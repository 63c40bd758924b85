import type { BypassPolicy } from '../../otel/words.ts'

/** What can be done about a bypass. `coalesce` is a word of the telemetry already; nothing plays it yet, so nobody may ask for it. */
export const WATCH_POLICIES = ['observe', 'enforce'] as const satisfies readonly BypassPolicy[]
export type WatchPolicy = (typeof WATCH_POLICIES)[number]
