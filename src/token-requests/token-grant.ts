import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import type { TokenFields } from '../providers/token-fields.ts'
import { secretText } from '../providers/token-fields.ts'
import { type ExpiresInRepair, tokenLife } from '../providers/token-life.ts'
import type { KnownService } from './endpoint-registry.ts'
import { accessTokenOf } from './request-credential.ts'
import type { AccessToken } from './token-lineage.ts'

/** What a token endpoint granted, by fingerprints. */
export interface TokenGrant {
  readonly access: AccessToken | undefined
  readonly refresh: Fingerprint | undefined
  /** What was wrong with `expires_in`. */
  readonly repaired: ExpiresInRepair | undefined
}

/**
 * Reads the tokens of a good answer; nothing shows them from now on.
 *
 * @param fields As the judge read them.
 * @param now Epoch milliseconds at which the answer came.
 */
export function readGrant(fields: TokenFields, service: KnownService, now: number): TokenGrant {
  const access = secretText(fields.access_token)
  const refresh = secretText(fields.refresh_token)
  secretText(fields.id_token)
  const life = access === undefined ? undefined : tokenLife(fields, access, now)
  return {
    access:
      access === undefined || life === undefined
        ? undefined
        : accessTokenOf(access, service, { expiresAt: now + life.expiresInMs, issuedAt: now }),
    refresh: fingerprint(refresh),
    repaired: life?.repaired,
  }
}
