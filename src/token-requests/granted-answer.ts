import type { Provider } from '../providers/provider.ts'
import type { TokenFields } from '../providers/token-fields.ts'
import { secretText } from '../providers/token-fields.ts'
import { tokenLife } from '../providers/token-life.ts'
import type { HeadFacts, UnreadableAnswer } from './judge.ts'
import type { GrantedAnswer } from './refresh-answer.ts'

/** Ways to show a token that a client of ours can use; none said is a bearer token. @see RFC 6749 section 7.1 */
const TOKEN_TYPE = /^(?:bearer|dpop)?$/i

/** What the reader of a token answer has to know. */
interface GrantReading {
  readonly provider: Provider
  /** The provider's clock, epoch milliseconds. */
  readonly now: number
}

/**
 * Reads the tokens out of a successful answer of a token endpoint.
 *
 * What providers leave out or spell otherwise is put right (`token_type`, `expires_in`, empty fields). The id token is taken
 * unchanged: it signs no user in here, and its issuer is not among the facts that are configured.
 *
 * @returns The tokens, or what is wrong with the answer; never any text of it.
 */
export function readGrantedAnswer(
  answer: TokenFields,
  facts: HeadFacts,
  { provider, now }: GrantReading,
): GrantedAnswer | UnreadableAnswer {
  const access = secretText(answer.access_token)
  if (access === undefined) return 'access_token_missing'
  if (typeof answer.token_type === 'string' && !TOKEN_TYPE.test(answer.token_type)) return 'answer_not_conform'
  const { expiresInMs, repaired } = tokenLife(answer, access, now)
  const refresh = secretText(answer.refresh_token)
  const idToken = secretText(answer.id_token)
  const account =
    provider.accountOf(access) ?? (idToken === undefined ? undefined : provider.accountOf(idToken)) ?? provider.accountOfAnswer?.(answer)
  return {
    kind: 'granted',
    ...facts,
    access,
    expiresInMs,
    ...(refresh === undefined ? {} : { refresh }),
    ...(idToken === undefined ? {} : { idToken }),
    ...(typeof answer.scope === 'string' && answer.scope !== '' ? { scope: answer.scope } : {}),
    ...(repaired === undefined ? {} : { repaired }),
    ...(account === undefined ? {} : { account }),
  }
}
