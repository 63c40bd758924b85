import type { Credential } from '../domain/credential.ts'
import { bearerOf } from '../domain/credential.ts'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { registerSecret } from '../tools/secret-registry.ts'

/** What a lost token turns into when code puts nothing into a string; posted by real gateways (#82069). */
const STRINGIFIED_NOTHING = new Set(['undefined', 'null', 'NaN', '[object Object]'])

/**
 * The text of a token or key as it can be sent: a line break at its end, as files and variables have it, is taken off.
 * From here on nothing shows it.
 *
 * @returns `undefined` when there is nothing that could be a secret: missing, empty, or a stringified nothing.
 */
export function secretText(value: unknown): string | undefined {
  const text = typeof value === 'string' ? value.trim() : ''
  if (text === '' || STRINGIFIED_NOTHING.has(text)) return undefined
  registerSecret(text)
  return text
}

/**
 * The secret a request is authenticated with.
 *
 * @throws {GatewayError} `GW_NEEDS_LOGIN` when the credential has lost it; `GW_CONFIG` when it cannot stand in a header.
 */
export function requireSecret(credential: Credential, providerId: string): string {
  const secret = secretText(bearerOf(credential))
  if (secret === undefined) {
    throw new GatewayError(
      'GW_NEEDS_LOGIN',
      `the ${credential.type} credential for ${providerId} holds no secret; sign in again or store it again`,
      { next: 'sign_in_again' },
    )
  }
  if (!/^[\x21-\x7e]+$/.test(secret)) {
    throw configError(`the ${credential.type} credential for ${providerId} holds spaces or characters no header can carry; store it again`)
  }
  return secret
}
