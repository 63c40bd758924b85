import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import type { OutgoingEnd } from '../http-clients/response-tracker.ts'
import type { ExpiresInRepair } from '../providers/refresh-answer.ts'
import { readText } from '../providers/refused-answer.ts'
import { secretText } from '../providers/secret-text.ts'
import { readTokenFields } from '../providers/token-fields.ts'
import { tokenLife } from '../providers/token-life.ts'
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

/** Bytes of an answer that are read; tokens are shorter. */
const MOST_BYTES = 256 * 1024

/**
 * Reads the tokens of a good answer; nothing shows them from now on.
 *
 * @param now Epoch milliseconds at which the answer came.
 * @returns `undefined` when the answer could not be seen or read.
 */
export function readGrant({ headers = {}, body }: OutgoingEnd, service: KnownService, now: number): TokenGrant | undefined {
  if (!body) return undefined
  const answer = readTokenFields(readText(headers, body, MOST_BYTES))
  if (!answer) return undefined
  const access = secretText(answer.access_token)
  const refresh = secretText(answer.refresh_token)
  secretText(answer.id_token)
  const life = access === undefined ? undefined : tokenLife(answer, access, now)
  return {
    access:
      access === undefined || life === undefined
        ? undefined
        : accessTokenOf(access, service, { expiresAt: now + life.expiresInMs, issuedAt: now }),
    refresh: fingerprint(refresh),
    repaired: life?.repaired,
  }
}
