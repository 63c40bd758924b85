import { expiryOfJwt } from './token-fields.ts'

/**
 * What was wrong with `expires_in` and was repaired: `zero` covers negative values, `absolute` is a moment where a
 * duration belongs (MiniMax's `expired_in`).
 */
export type ExpiresInRepair = 'missing' | 'zero' | 'string' | 'milliseconds' | 'absolute'

/** How long a fresh access token lives. */
interface TokenLife {
  readonly expiresInMs: number
  readonly repaired?: ExpiresInRepair
}

/** Assumed life of a token without any declared expiry, in ms: the shortest usual one. */
const DEFAULT_LIFE_MS = 3_600_000
/** No provider grants access for longer; a larger `expires_in` is in another unit. */
const LONGEST_LIFE_S = 10 * 365 * 86_400
/** From here on a number is a moment in epoch seconds (2001) and, further on, in epoch milliseconds (2001 as well). */
const EPOCH_SECONDS = 1_000_000_000
const EPOCH_MILLISECONDS = 1_000_000_000_000

/**
 * Works out how long a fresh access token lives, whatever the provider made of `expires_in`.
 *
 * RFC 6749 section 5.1 says seconds, as a number. Also seen: missing, zero, a string, milliseconds, and MiniMax's
 * `expired_in`, a moment in epoch milliseconds. Where the answer gives nothing usable the token's own `exp` counts, then
 * an hour.
 *
 * @param answer The parsed answer of the token endpoint.
 * @param now The provider's clock, epoch milliseconds: its `exp` was made by it.
 */
export function tokenLife(answer: Readonly<Record<string, unknown>>, accessToken: string, now: number): TokenLife {
  const ownMs = lifeByExp(accessToken, now)
  const raw = answer.expires_in ?? answer.expired_in
  const value = numberOf(raw)
  if (typeof value === 'string') return { expiresInMs: ownMs ?? DEFAULT_LIFE_MS, repaired: value }
  if (value >= EPOCH_SECONDS) return fromMoment(value >= EPOCH_MILLISECONDS ? value : value * 1000, now, ownMs)
  if (value > LONGEST_LIFE_S || isCloserInMilliseconds(value, ownMs)) return { expiresInMs: value, repaired: 'milliseconds' }
  return { expiresInMs: value * 1000, ...(typeof raw === 'string' && { repaired: 'string' }) }
}

/** A positive number of some unit, else what is wrong with it. */
function numberOf(raw: unknown): number | 'missing' | 'string' | 'zero' {
  if (raw === undefined || raw === null) return 'missing'
  const value = typeof raw === 'string' && raw.trim() !== '' ? Number(raw) : raw
  if (typeof value !== 'number' || !Number.isFinite(value)) return 'string'
  return value > 0 ? value : 'zero'
}

function fromMoment(at: number, now: number, ownMs: number | undefined): TokenLife {
  const lifeMs = at - now
  const isPlausible = lifeMs > 0 && lifeMs <= LONGEST_LIFE_S * 1000
  return { expiresInMs: isPlausible ? lifeMs : (ownMs ?? DEFAULT_LIFE_MS), repaired: 'absolute' }
}

/** An hour in milliseconds is 41 days in seconds: only the token's own `exp` distinguishes these two. */
function isCloserInMilliseconds(value: number, ownMs: number | undefined): boolean {
  return ownMs !== undefined && Math.abs(value - ownMs) < Math.abs(value * 1000 - ownMs)
}

function lifeByExp(accessToken: string, now: number): number | undefined {
  const expiresAt = expiryOfJwt(accessToken)
  return expiresAt !== undefined && expiresAt > now ? expiresAt - now : undefined
}
