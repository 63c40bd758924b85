import type { Credential } from '../domain/credential.ts'
import type { AttemptOutcome, Billing, Protocol, TokenRequestOutcome } from '../domain/enums.ts'
import type { LoginEndpoints } from './login-endpoints.ts'

/** How a provider's OAuth grants are refreshed. Endpoints are absolute URLs. */
export interface OAuthEndpoints {
  readonly tokenUrl: string
  readonly clientId: string
  /** Public clients have none; Google's "installed app" does. */
  readonly clientSecret?: string
  /** Body of a token request. RFC 6749 says form; some providers want JSON. */
  readonly encoding: 'form' | 'json'
  /** Headers the token endpoint insists on. */
  readonly headers?: Readonly<Record<string, string>>
  /** How its clients read a refusal. @default RFC 6749 section 5.2 */
  readonly refusals?: 'openai'
  /** How a user signs in here; absent where that is impossible. */
  readonly login?: LoginEndpoints
}

/** An answer of a provider that is not 2xx, as far as it is read: never more than `ERROR_BODY_READ` bytes. */
export interface RefusedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
  /** The model that was asked for, where it was a model call. */
  readonly model?: string
}

/** What a refused model call means for the profile, decided once, where the provider is known. */
export interface AttemptJudgement {
  readonly outcome: AttemptOutcome
  /** The provider's own code, bounded; never its message. */
  readonly providerCode?: string
  /** The type of error in the provider's words, bounded as its code. */
  readonly providerType?: string
  readonly retryAfterMs?: number
  /** `model`: the limit is that of the model that was asked; other models of the same login are not concerned. @default the login's */
  readonly scope?: 'model'
}

/** What the answer to a token request means for the grant. */
export interface TokenJudgement {
  readonly outcome: TokenRequestOutcome
  readonly providerCode?: string
  readonly retryAfterMs?: number
  /** The provider says that this refresh token had been used before. */
  readonly replayed?: boolean
}

/** Headers a client sent with its call, names in lower case. */
export type ProviderHeaders = Readonly<Record<string, string | string[] | undefined>>

/** A service that answers model calls. Data and pure functions; nothing here does I/O. */
export interface Provider {
  readonly id: string
  /** `gen_ai.provider.name` of the GenAI conventions. */
  readonly genaiName: string
  readonly baseUrl: string
  /** Path, below `baseUrl`, for each wire language the provider speaks. */
  readonly paths: Readonly<Partial<Record<Protocol, string>>>
  readonly modelsPath?: string
  /** Query, with its question mark, without which `modelsPath` is not answered. */
  readonly modelsQuery?: string
  readonly oauth?: OAuthEndpoints
  /** How a profile of the given credential type pays unless it says otherwise. */
  billingOf(credential: Credential): Billing
  /**
   * Headers that authenticate a request, names in lower case; the only place where a secret meets a header.
   *
   * To be laid over the client's headers, of which the inbound `authorization` and `x-api-key` were taken off before.
   *
   * @param sent What the client sent: defaults of the provider do not replace it, lists (`anthropic-beta`) are joined.
   * @throws {GatewayError} `GW_NEEDS_LOGIN` when the credential has lost its secret, `GW_CONFIG` when the secret holds
   *   characters that cannot stand in a header.
   */
  authorize(credential: Credential, sent?: ProviderHeaders): Record<string, string>
  judgeAttempt(answer: RefusedAnswer): AttemptJudgement
  judgeRefresh(answer: RefusedAnswer): TokenJudgement
  /** The account a fresh access token belongs to, if the token states it. */
  accountOf(accessToken: string): string | undefined
  /** The account, where the answer of the token endpoint names it beside the tokens. */
  accountOfAnswer?(answer: Readonly<Record<string, unknown>>): string | undefined
}

/** Bytes of an error answer that are read for judgement and relay; errors are short, HTML walls of text are not. */
export const ERROR_BODY_READ = 64 * 1024
