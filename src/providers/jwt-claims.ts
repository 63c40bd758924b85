/**
 * Reads the claims of a JWT without verifying it: enough to know when our own token expires and whose it is, never
 * enough to trust anybody else's.
 *
 * @returns The payload, or `undefined` when the token is opaque. Never throws.
 * @see RFC 7519 section 3
 */
export function readJwtClaims(token: string): Readonly<Record<string, unknown>> | undefined {
  const parts = token.split('.')
  const payload = parts[1]
  if (parts.length !== 3 || !payload) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims) ? (claims as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** When the token expires by its own `exp`, epoch milliseconds; `undefined` when it does not say. */
export function expiryOfJwt(token: string): number | undefined {
  const exp = readJwtClaims(token)?.exp
  return typeof exp === 'number' && Number.isFinite(exp) && exp > 0 ? exp * 1000 : undefined
}
