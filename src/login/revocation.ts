import type { CallerSite } from '../domain/caller-site.ts'
import type { OAuthCredential } from '../domain/credential.ts'
import type { OperationOutcome } from '../domain/enums.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import type { NextStep } from '../domain/gateway-error.ts'
import { secretText } from '../providers/token-fields.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { OAuthParty } from '../token-requests/oauth-request.ts'
import { requestRevocation } from '../token-requests/revocation.ts'
import type { Clock } from '../tools/clock.ts'
import { askOptions } from './login-context.ts'
import { endOfRefusal, OperationError, recordOperation, recordTokenRequest } from './operation-record.ts'

/** What a revocation is made with. */
interface RevokeOptions {
  readonly telemetry: Telemetry
  readonly party: OAuthParty
  readonly profileId: string
  readonly caller: CallerSite
  readonly signal: AbortSignal
  readonly clock: Clock
  readonly token: string
  readonly kind: 'refresh_token' | 'access_token'
}

/**
 * Gives a token back to its provider, as an event of its own.
 *
 * @throws {OperationError} `GW_REVOKE_FAILED`: the token may live on.
 * @see RFC 7009
 */
export function revoke({ token, kind, ...options }: RevokeOptions): Promise<void> {
  const { telemetry, party, profileId, caller } = options
  const { id } = party.provider
  return recordOperation(telemetry, { operation: 'revoke', provider: id, profileId, caller }, async operation => {
    if (kind === 'refresh_token') operation.set({ refreshFingerprintBefore: fingerprint(token) })
    if (party.server.revocation_endpoint === undefined) {
      throw new OperationError(
        'refused',
        'GW_REVOKE_FAILED',
        `no address is known at which ${id} takes logins back (providers.${id}.revocationUrl)`,
        {
          next: 'fix_configuration',
        },
      )
    }
    const answer = await requestRevocation({ ...askOptions(options), token, kind })
    recordTokenRequest(operation, answer)
    if (answer.kind !== 'answered') throw revocationError(id, answer)
  })
}

function revocationError(id: string, answer: Exclude<Awaited<ReturnType<typeof requestRevocation>>, { kind: 'answered' }>): OperationError {
  if (answer.kind === 'unanswered') {
    const ended = answer.outcome === 'cancelled' || answer.outcome === 'timeout' ? answer.outcome : 'unavailable'
    return notTaken(id, ended, answer.errorType, 'try_again_later', answer.cause)
  }
  const [ended, next] = endOfRefusal(answer.verdict)
  const isPassing = ended === 'unavailable'
  const why = answer.verdict.providerCode ?? `status ${answer.status}`
  return notTaken(id, isPassing ? ended : 'refused', why, isPassing ? next : 'check_account')
}

function notTaken(id: string, ended: OperationOutcome, why: string, next: NextStep, cause?: unknown): OperationError {
  return new OperationError(ended, 'GW_REVOKE_FAILED', `${id} did not take the login back (${why})`, { next, cause })
}

/** Gives back what no profile will keep. @returns whether the provider took it. */
export async function giveBack(options: RevokeOptions): Promise<boolean> {
  // A login that was given up is given back all the same.
  return options.party.server.revocation_endpoint === undefined
    ? false
    : revoke({ ...options, signal: new AbortController().signal }).then(
        () => true,
        () => false,
      )
}

/** The token of a credential whose revocation ends the most. */
export function revocable(credential: OAuthCredential): Pick<RevokeOptions, 'token' | 'kind'> | undefined {
  const refresh = secretText(credential.refresh)
  if (refresh !== undefined) return { token: refresh, kind: 'refresh_token' }
  const access = secretText(credential.access)
  return access === undefined ? undefined : { token: access, kind: 'access_token' }
}
