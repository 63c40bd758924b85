import { type CallerSite, clientCaller } from '../domain/caller-site.ts'
import { siteOf } from '../telemetry/caller.ts'
import type { RawFrame } from '../tools/stack-frames.ts'
import { hostSpan } from './host-span.ts'
import { inboundRoute } from './inbound-route.ts'
import type { HostSpan } from './observation.ts'
import type { OutgoingRequest } from './outgoing.ts'

/** What was around when a request was made. Taken synchronously; made readable later. */
export interface Sighting {
  /** Epoch milliseconds. */
  readonly startMs: number
  /** By `performance.now()`. */
  readonly startedAtMs: number
  readonly frames: readonly RawFrame[]
  /** The inbound request under whose work it was made. */
  readonly route: string | undefined
  readonly parent: HostSpan | undefined
}

/** Takes a sighting of a request that is made just now. @param above The listener; frames up to it are left out. */
export function takeSighting(request: Pick<OutgoingRequest, 'frames'>, above: (...args: never[]) => unknown): Sighting {
  return {
    startMs: Date.now(),
    startedAtMs: performance.now(),
    frames: request.frames(above),
    route: inboundRoute(),
    parent: hostSpan(),
  }
}

/** Who made the request: the application's frame; where the stack is cut before it, the inbound route; else a library's frame. */
export function callerOf({ frames, route }: Sighting): CallerSite {
  const site = siteOf(frames)
  if (site.kind === 'code' || route === undefined) return site
  return { ...site, ...clientOf(route) }
}

function clientOf(route: string): Pick<CallerSite, 'kind' | 'label'> {
  const { kind, label } = clientCaller(route)
  return { kind, label }
}
