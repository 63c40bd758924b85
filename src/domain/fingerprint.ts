import { createHash } from 'node:crypto'

/** A short one-way digest of a token: 12 hex digits. The same token has the same fingerprint in every process. */
export type Fingerprint = string

/**
 * Takes the fingerprint of a token.
 *
 * Unkeyed on purpose: two processes that share nothing must get the same value. Tokens carry far more entropy than
 * could be searched; the prefix keeps the digest from being looked up as a plain SHA-256.
 *
 * @returns 12 hex digits, or `undefined` where there is no token to speak of.
 */
export function fingerprint(token: string | undefined): Fingerprint | undefined {
  if (!token) return undefined
  return createHash('sha256').update('gatewatch-fingerprint-v1\0').update(token).digest('hex').slice(0, 12)
}
