import type { OAuthCredential } from '../domain/credential.ts'
import type { RefreshReason } from '../domain/enums.ts'

interface NeedsRefreshOptions {
  /** How long before expiry a token counts as expiring, in ms. Not negative. @default 120_000 */
  earlyMs?: number
}

export const NEEDS_REFRESH_DEFAULTS = { earlyMs: 120_000 } as const satisfies Required<NeedsRefreshOptions>

/**
 * Decides whether an OAuth credential must be refreshed, and why.
 *
 * Pure: no clock, no store, no network. A token of unknown expiry is used until the provider rejects it.
 *
 * @param now Current time, epoch milliseconds.
 * @returns The reason, or `undefined` when the credential can be used unchanged.
 * @throws {RangeError} if `earlyMs` is negative.
 * @see RFC 6749 section 5.1: `expires_in` is in seconds; converted once, in token-requests/token-endpoint.ts.
 */
export function needsRefresh(
  { access, expiresAt }: Pick<OAuthCredential, 'access' | 'expiresAt'>,
  now: number,
  { earlyMs = NEEDS_REFRESH_DEFAULTS.earlyMs }: NeedsRefreshOptions = {},
): Extract<RefreshReason, 'missing' | 'expired' | 'expiring'> | undefined {
  if (earlyMs < 0) throw new RangeError(`earlyMs must not be negative, got ${earlyMs}`)
  if (!access) return 'missing'
  if (expiresAt === undefined) return undefined
  if (expiresAt <= now) return 'expired'
  return expiresAt - now <= earlyMs ? 'expiring' : undefined
}
