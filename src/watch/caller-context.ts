import { captureAsyncSteps, type NotedFrames } from '../callers/async-stack.ts'
import { siteOutside } from '../callers/caller.ts'
import { inboundRequest, routeOf } from '../callers/inbound-route.ts'
import type { RawFrame } from '../callers/stack-frames.ts'
import { type CallerSite, clientCaller } from '../domain/caller-site.ts'
import type { OutgoingRequest } from '../http-clients/outgoing-request.ts'
import type { HostSpan } from '../telemetry/host-span.ts'
import { hostSpan } from '../telemetry/host-span.ts'

/** What was around when a request was made. Taken synchronously; made readable later, if anybody asks. */
export class CallerContext {
  /** Epoch milliseconds. */
  readonly startMs = Date.now()
  /** By `performance.now()`. */
  readonly startedAtMs = performance.now()
  readonly parent: HostSpan | undefined = hostSpan()
  readonly #frames: NotedFrames
  readonly #asyncSteps = captureAsyncSteps()
  #joined: readonly (readonly RawFrame[])[] | undefined
  readonly #inboundMethod: string | undefined
  readonly #inboundUrl: string | undefined

  constructor(frames: NotedFrames) {
    this.#frames = frames
    const inbound = inboundRequest()
    this.#inboundMethod = inbound?.method
    this.#inboundUrl = inbound?.url
  }

  get frames(): readonly RawFrame[] {
    return this.#frames()
  }

  /** Others who wait for what this request is made for: they share it. Seen with deep stacks only. */
  joiners(): CallerSite[] {
    const running = this.#frames()
    // Asked once, while they wait: a moment later they have gone on.
    this.#joined ??= this.#asyncSteps?.joiners(running) ?? []
    const isRunning = (frame: RawFrame) => running.some(one => one.file === frame.file && one.functionName === frame.functionName)
    // What they have in common with the one who sends it, they all came through.
    return this.#joined.map(stack =>
      siteOutside(
        stack,
        Math.max(
          0,
          stack.findIndex(frame => !isRunning(frame)),
        ),
      ),
    )
  }

  /** The inbound request under whose work it was made: `POST /v1/chat/:id`. */
  get route(): string | undefined {
    return this.#inboundUrl === undefined ? undefined : routeOf(this.#inboundMethod ?? 'GET', this.#inboundUrl)
  }
}

/**
 * Captures the caller context of a request that is made just now.
 *
 * @param above The listener; frames up to it are left out.
 * @param most Frames of the caller at most. @default 160
 */
export function captureContext(
  request: Pick<OutgoingRequest, 'noteFrames'>,
  above: (...args: never[]) => unknown,
  most?: number,
): CallerContext {
  return new CallerContext(request.noteFrames(above, most))
}

/**
 * Who made the request: the application's frame; where the stack is cut before it, the inbound route; else a library's frame.
 *
 * @param from Index of the first frame that can be the caller's. @default 0
 */
export function callerOf({ frames, route }: CallerContext, from = 0): CallerSite {
  const site = siteOutside(frames, from)
  if (site.kind === 'code' || route === undefined) return site
  return { ...site, ...clientOf(route) }
}

function clientOf(route: string): Pick<CallerSite, 'kind' | 'label'> {
  const { kind, label } = clientCaller(route)
  return { kind, label }
}
