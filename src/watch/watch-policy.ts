import { BYPASS_POLICIES, type BypassPolicy } from '../domain/enums.ts'

/** What a watched process can be made to do about a bypass. */
export const WATCH_POLICIES: readonly BypassPolicy[] = BYPASS_POLICIES
export type WatchPolicy = BypassPolicy

/** What a gateway can do about one in its own process: who goes past its gate has no answer to share. */
export const GATE_POLICIES = ['observe', 'enforce'] as const satisfies readonly BypassPolicy[]
export type GatePolicy = (typeof GATE_POLICIES)[number]
