import { createHash } from 'node:crypto'
import { sanitizeName } from './sanitize-name.ts'

/** A word that may stand in telemetry unchanged. */
export const PLAIN_WORD = /^[a-z][a-z0-9_-]{0,31}$/
const MOST_CACHED = 10_000
const names = new Map<string, string>()

/**
 * The name of a profile as telemetry may show it.
 *
 * Profile ids carry e-mail addresses (`openai-codex:me@example.com`). The part after the provider stays readable when
 * it is a plain word (`default`, `team-a`), else it becomes eight hex digits, the same in every process. Who wants to read
 * a name there gives the profile one in the configuration.
 */
export function profileName(profileId: string): string {
  const known = names.get(profileId)
  if (known) return known
  const colon = profileId.indexOf(':')
  const provider = colon < 0 ? '' : profileId.slice(0, colon)
  const account = profileId.slice(colon + 1)
  const name = `${isPlain(provider) ? `${provider}:` : ''}${isPlain(account) ? account : digest(profileId)}`
  if (names.size < MOST_CACHED) names.set(profileId, name)
  return name
}

function isPlain(word: string): boolean {
  return PLAIN_WORD.test(word) && sanitizeName(word) === word
}

function digest(profileId: string): string {
  return createHash('sha256').update('gatewatch-profile-v1\0').update(profileId).digest('hex').slice(0, 8)
}
