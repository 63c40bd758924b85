import { fingerprint } from '../domain/fingerprint.ts'
import type { CodeGrantAnswer, SignedIn } from '../token-requests/code-grant.ts'
import type { AskOptions } from '../token-requests/oauth-request.ts'
import type { GrantedAnswer } from '../token-requests/refresh-answer.ts'
import { askOptions, type LoginContext } from './login-context.ts'
import { loginRefused, OperationError, recordOperation, recordTokenRequest } from './operation-record.ts'
import { giveBack } from './revocation.ts'

/** Exchanges a code for tokens, as an event of its own. @throws {OperationError} when there are none, or they do not hold. */
export function exchange(context: LoginContext, request: (options: AskOptions) => Promise<CodeGrantAnswer>): Promise<GrantedAnswer> {
  const { telemetry, party, profileId, caller } = context
  return recordOperation(telemetry, { operation: 'exchange', provider: party.provider.id, profileId, caller }, async operation => {
    const answer = await request(askOptions(context))
    recordTokenRequest(operation, answer.kind === 'granted' ? traceOf(answer) : answer)
    const granted = await grantedBy(context, answer)
    operation.set({ refreshFingerprintAfter: fingerprint(granted.refresh) })
    return granted
  })
}

/** What was granted; whatever does not hold is given back. @throws {OperationError} */
export async function grantedBy(context: LoginContext, answer: CodeGrantAnswer): Promise<GrantedAnswer> {
  if (answer.kind === 'granted') return answer.answer
  const { id } = context.party.provider
  if (answer.kind !== 'unverified') throw loginRefused(id, 'for tokens', answer)
  const { refresh, access } = answer.answer
  await giveBack({ ...context, token: refresh ?? access, kind: refresh === undefined ? 'access_token' : 'refresh_token' })
  throw new OperationError(
    'unverified',
    'GW_LOGIN_FAILED',
    `the id token that ${id} gave is not for this login: another issuer, client or nonce, or out of date; nothing was stored. Check providers.${id}.issuer and the clock`,
    { next: 'fix_configuration' },
  )
}

function traceOf({ shape, answer: { status, requestId } }: SignedIn) {
  return { shape, status, ...(requestId !== undefined && { requestId }) }
}
