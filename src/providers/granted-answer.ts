import { type AuthorizationServer, type Client, processRefreshTokenResponse } from 'oauth4webapi'
import type { Provider } from './provider.ts'
import type { GrantedAnswer } from './refresh-answer.ts'
import { secretText } from './secret-text.ts'
import type { TokenFields } from './token-fields.ts'
import { tokenLife } from './token-life.ts'

/** What is wrong with an answer that should have held tokens. */
export type UnreadableAnswer = 'answer_too_long' | 'answer_not_json' | 'access_token_missing' | 'answer_not_conform'

/** What is known of the answer in addition to its body. */
export interface GrantedFacts {
  readonly status: number
  readonly requestId?: string
  readonly skewMs?: number
}

/** What the reader of a token answer has to know. */
export interface GrantReading {
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
 * answer has to pass oauth4webapi. The id token is taken unchanged: nobody is signed in by it here, and its issuer is not
 * among the facts that are configured.
 *
 * @param answer The fields as `readTokenFields` read them; `undefined` where it read none.
 * @returns The tokens, or what is wrong with the answer; never any text of it.
 */
export async function readGrantedAnswer(
  answer: TokenFields | undefined,
  facts: GrantedFacts,
  reading: GrantReading,
): Promise<GrantedAnswer | UnreadableAnswer> {
  if (!answer) return 'answer_not_json'
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
