import type { Guard } from './node-response.ts'
import type { UndiciRequest } from './request-body.ts'
import type { ResponseTracker } from './response-tracker.ts'

/**
 * Hears the body of an answer from undici 6 and 7, which call `request.onData` for each piece: undici 6, and with it the
 * fetch of Node 22, has no channel for them. Later versions call it otherwise and have the channel.
 *
 * A private contract, pinned by the tests on every Node.
 *
 * @returns Says whether it is heard here.
 */
export function onUndiciResponse(request: UndiciRequest, tracker: ResponseTracker, safely: Guard): boolean {
  const hearable = request as { onData?: (...given: unknown[]) => unknown }
  const { onData } = hearable
  if (typeof onData !== 'function') return false
  const hear = safely((piece: unknown) => piece instanceof Uint8Array && tracker.chunk(piece))
  hearable.onData = function (this: unknown, ...given: unknown[]) {
    hear(given[0])
    return Reflect.apply(onData, this, given)
  }
  return true
}
