import { bearerOf, type Credential, expiryOf, isOAuth } from './credential.ts'
import type { ProfileState } from './enums.ts'

/** What is known of a profile when its state is judged. */
export interface StateQuestion {
  readonly credential: Credential
  /** Epoch milliseconds. */
  readonly now: number
  /** How long before its expiry a token counts as expiring, in ms. */
  readonly earlyMs: number
  /** The grant cannot be refreshed any more. */
  readonly isDead: boolean
  /** Something of the profile could not be written, or read again: it serves from memory. */
  readonly isInMemoryOnly: boolean
  /** Calls leave the profile alone after a failure, for every model. */
  readonly isResting: boolean
}

/**
 * Judges what a profile can do right now: the one place for every type of credential.
 *
 * What only a person can mend goes before what time mends. A dead grant is `needs_login` even while its access token
 * still serves (see `servesUntil`); an expired OAuth token is refreshed on the way, any other one is useless.
 *
 * Pure: no clock, no store, no network.
 */
export function profileStateOf({ credential, now, earlyMs, isDead, isInMemoryOnly, isResting }: StateQuestion): ProfileState {
  const life = tokenLifeOf(credential, now, earlyMs)
  if (life === 'missing' && !(isOAuth(credential) && credential.refresh)) return 'missing_credential'
  if (isOAuth(credential) && isDead) return 'needs_login'
  if (!isOAuth(credential) && life === 'expired') return 'expired'
  if (isResting) return 'resting'
  if (isInMemoryOnly) return 'not_persisted'
  return life === 'missing' ? 'missing_credential' : life
}

/** How the secret that calls are sent with stands. An expiry that is not known is none. */
export function tokenLifeOf(credential: Credential, now: number, earlyMs = 0): 'missing' | 'expired' | 'expiring' | 'ready' {
  if (!bearerOf(credential)) return 'missing'
  const expiresAt = expiryOf(credential)
  if (expiresAt === undefined) return 'ready'
  if (expiresAt <= now) return 'expired'
  return expiresAt - now <= earlyMs ? 'expiring' : 'ready'
}

/** Whether a call can be sent with the current credential, whatever the result of a refresh. */
export function isTokenUsable(credential: Credential, now: number): boolean {
  const life = tokenLifeOf(credential, now)
  return life === 'ready' || life === 'expiring'
}
