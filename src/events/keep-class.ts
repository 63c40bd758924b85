import type { GatewatchEvent } from '../domain/events.ts'
import { isAlwaysKeptKind, isAlwaysKeptStep } from '../telemetry/tail-sampling.ts'
import type { KeepClass } from './event-schema.ts'

/** Which class an event belongs to: OAuth operations, acquisitions that were no plain reuse, bypasses, errors, fallbacks and skips are kept. */
export function keepClassOf(event: GatewatchEvent): KeepClass {
  return event.isError || isKeptKind(event) || event.steps.some(({ name }) => isAlwaysKeptStep(name)) ? 'kept' : 'bulk'
}

/** Says whether an event is of a refresh that this process made itself, through its gate: no other process knows how it ended. */
export function isOwnRefreshEvent(event: GatewatchEvent): boolean {
  return event.kind === 'token_request' && event.grant !== 'other' && event.via === 'gate' && event.outcome !== 'reused'
}

/** Says whether an event is a refresh: a token request that is one or may be, or a request that was answered with another caller's answer. */
export function isRefreshEvent(event: GatewatchEvent): boolean {
  return event.kind === 'token_request' ? event.grant !== 'other' : event.kind === 'acquire' && event.via !== undefined
}

function isKeptKind(event: GatewatchEvent): boolean {
  if (event.kind === 'acquire') return event.decision !== 'reuse' || event.via !== undefined
  return event.kind === 'config' || isAlwaysKeptKind(event.kind)
}
