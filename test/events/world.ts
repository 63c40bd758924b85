import type { EventCaller, TokenRequestEvent } from '../../src/domain/events.ts'
import type { EventStoreOptions } from '../../src/events/event-store.ts'
import { type Differences, storeWorld } from './world-events.ts'

/** As `storeWorld`; `sent` is the fingerprint of the token that a refresh sends. */
export function diskWorld(options: Partial<EventStoreOptions> = {}) {
  const { refresh, ...world } = storeWorld(options)
  return {
    ...world,
    refresh: ({
      sent,
      ...differences
    }: Differences<TokenRequestEvent> & { readonly sent?: string; readonly caller?: string | EventCaller } = {}) =>
      refresh({ ...(sent && { refreshFingerprintBefore: sent }), ...differences }),
  }
}
