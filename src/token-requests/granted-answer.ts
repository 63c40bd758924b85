import { type AuthorizationServer, type Client, processRefreshTokenResponse } from 'oauth4webapi'
import type { Provider } from '../providers/provider.ts'
import type { TokenFields } from '../providers/token-fields.ts'
import { secretText } from '../providers/token-fields.ts'
import { tokenLife } from '../providers/token-life.ts'
import type { HeadFacts, UnreadableAnswer } from './judge.ts'
import type { GrantedAnswer } from './refresh-answer.ts'

/** What the reader of a token answer has to know. */
interface GrantReading {
  readonly provider: Provider
  readonly server: AuthorizationServer
  readonly client: Client
  /** The provider's clock, epoch milliseconds. */
  readonly now: number
}

/**
 * Reads the tokens out of a successful answer of a token endpoint.
 *
 * What providers leave out or spell otherwise is put right first (`token_type`, `expires_in`, empty fields), then the
 * answer has to pass oauth4webapi. The id token is taken unchanged: it signs no user in here, and its issuer is not
 * among the facts that are configured.
 *
 * @returns The tokens, or what is wrong with the answer; never any text of it.
 */
export async function readGrantedAnswer(
  answer: TokenFields,
  facts: HeadFacts,
  reading: GrantReading,
): Promise<GrantedAnswer | UnreadableAnswer> {
  const access = secretText(answer.access_token)
  if (access === undefined) return 'access_token_missing'
  const { expiresInMs, repaired } = tokenLife(answer, access, reading.now)
  const refresh = secretText(answer.refresh_token)
  const idToken = secretText(answer.id_token)
  const isConform = await passesOAuth(
    {
      access_token: access,
      token_type: typeof answer.token_type === 'string' && answer.token_type !== '' ? answer.token_type : 'bearer',
      expires_in: Math.max(1, Math.round(expiresInMs / 1000)),
      ...(refresh === undefined ? {} : { refresh_token: refresh }),
    },
    reading,
  )
  if (!isConform) return 'answer_not_conform'
  const { provider } = reading
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

/** The errors of oauth4webapi carry the answer as their cause, so only the verdict leaves this function. */
async function passesOAuth(answer: object, { server, client }: GrantReading): Promise<boolean> {
  try {
    await processRefreshTokenResponse(server, client, Response.json(answer))
    return true
  } catch {
    return false
  }
}
