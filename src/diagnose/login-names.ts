import type { GatewatchEvent, TokenRequestEvent } from '../domain/events.ts'

/** Fingerprints that an event may carry, whatever its kind. */
type EventTokens = Partial<Pick<TokenRequestEvent, 'refreshFingerprintBefore' | 'refreshFingerprintAfter' | 'credentialFingerprint'>>

/**
 * The name of a login for each other name that events give it.
 *
 * A watched process names a login by the first token it saw (`token-lineage.ts`) until an answer names the account, or a file of the
 * application the profile. Of three requests with one token, the refused one may be answered before the one whose answer names the
 * account, and another process may never see that answer: rules would take the events of one login for those of two.
 *
 * @param events In order of time; the latest name is taken.
 */
export function loginNames(events: readonly GatewatchEvent[]): ReadonlyMap<string, string> {
  const given = new Set(events.map(({ profile }) => profile))
  const names = new Map<string, string>()
  for (const event of events)
    for (const token of tokensOf(event)) {
      const { provider, profile } = event
      const byToken = `${provider}:${token.slice(0, 8)}`
      if (profile !== undefined && profile !== byToken && given.has(byToken)) names.set(byToken, profile)
    }
  return new Map([...names.keys()].map(name => [name, lastName(names, name)]))
}

/** The events, each with the name of its login. */
export function underLoginNames(events: readonly GatewatchEvent[], names: ReadonlyMap<string, string>): readonly GatewatchEvent[] {
  if (names.size === 0) return events
  return events.map(event => {
    const profile = event.profile === undefined ? undefined : names.get(event.profile)
    return profile === undefined ? event : { ...event, profile }
  })
}

/** A name may itself be that of an older token. */
function lastName(names: ReadonlyMap<string, string>, first: string): string {
  const passed = new Set<string>()
  let name = first
  for (let next = names.get(name); next !== undefined && !passed.has(name); next = names.get(name)) {
    passed.add(name)
    name = next
  }
  return name
}

function tokensOf(event: GatewatchEvent): readonly string[] {
  const { refreshFingerprintBefore, refreshFingerprintAfter, credentialFingerprint } = event as EventTokens
  return [refreshFingerprintBefore, refreshFingerprintAfter, credentialFingerprint].filter(token => token !== undefined)
}
