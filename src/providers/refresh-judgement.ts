import type { TokenRequestOutcome } from '../domain/enums.ts'
import { isJsonObject } from '../tools/json-object.ts'
import { codeWord, type ErrorBody, readErrorBody, retryAfterMs } from './error-body.ts'
import type { RefusedAnswer, TokenJudgement } from './provider.ts'
import { readAnswerFields } from './token-fields.ts'

/** Codes of one provider's token endpoint beyond RFC 6749, in lower case. */
export type RefreshCodes = Readonly<Record<string, TokenRequestOutcome>>

/** RFC 6749 section 5.2 and RFC 8628 section 3.5. */
const RFC_CODES: RefreshCodes = {
  invalid_grant: 'invalidated',
  invalid_client: 'refused',
  unauthorized_client: 'refused',
  invalid_request: 'malformed',
  invalid_scope: 'malformed',
  unsupported_grant_type: 'malformed',
  authorization_pending: 'pending',
  slow_down: 'throttled',
  server_error: 'unavailable',
  temporarily_unavailable: 'unavailable',
}

/**
 * What providers say beyond it. A user must sign in, and answer what the provider asks (OpenID Connect Core 1.0 section
 * 3.1.2.6, RFC 9470; Google's `invalid_rapt`): nothing else helps.
 */
const DIALECT_CODES: RefreshCodes = {
  interaction_required: 'interaction_required',
  consent_required: 'interaction_required',
  login_required: 'interaction_required',
  account_selection_required: 'interaction_required',
  mfa_required: 'interaction_required',
  unmet_authentication_requirements: 'interaction_required',
  insufficient_user_authentication: 'interaction_required',
  invalid_rapt: 'interaction_required',
  // GitHub's word for invalid_client.
  incorrect_client_credentials: 'refused',
  // GitHub, HubSpot, Notion, Supabase, Slack.
  bad_refresh_token: 'invalidated',
  invalid_refresh_token: 'invalidated',
  refresh_token_not_found: 'invalidated',
  refresh_token_already_used: 'invalidated',
  token_revoked: 'invalidated',
  account_inactive: 'invalidated',
  // Of a refresh token (Firebase has the first one); for device codes the second is RFC 8628's.
  token_expired: 'grant_expired',
  expired_token: 'grant_expired',
}

const REUSED_CODES = new Set(['refresh_token_reused', 'refresh_token_already_used'])
const USED_BEFORE_TEXT = /(?:already|previously) (?:been )?used|token reuse|reuse detected/
const EMPTY_TOKEN_TEXT = /refresh_token.*empty string/
/** Salesforce, of two requests at once: the login is well. */
const BUSY_TEXT = /already being processed/
/** Under codes that say less (Atlassian's `unauthorized_client`, Cognito's `NotAuthorizedException`). */
const DEAD_TOKEN_TEXT = /refresh[ _]token (?:is|was|has) (?:been )?(?:invalid|revoked|expired|unknown|not (?:valid|found))/
const CLIENT_TEXT = /client[ _]?secret/

/**
 * Judges a refused token request. A refusal that came with a status of the 200s is judged as if it were a 400.
 *
 * Only clear codes are permanent, and only with a status of the 400s. What is not clear passes: a bare 401 or 400
 * without a code that we know is `forbidden` (transient, it backs off), because signing in again is the dearest remedy
 * and a proxy or a wall in between answers just so. A redirect is `redirected`: token requests follow none, and what
 * redirects them is a portal or a moved endpoint. Where the client is at fault, the grant is not: `refused`.
 *
 * @param codes What the provider says beyond RFC 6749.
 */
export function judgeRefresh(answer: RefusedAnswer, codes: RefreshCodes = {}): TokenJudgement {
  const body = readErrorBody(answer)
  const words = body.isHtml ? [] : wordsOf(answer.body, body)
  const status = answer.status >= 200 && answer.status <= 299 ? 400 : answer.status
  const { outcome, word } = outcomeOf(status, body, words, codes)
  const providerCode = word ?? body.code ?? words[0]
  const waitMs = outcome === 'throttled' || outcome === 'unavailable' ? retryAfterMs(answer.headers) : undefined
  const replayed = outcome === 'invalidated' && (REUSED_CODES.has(providerCode ?? '') || USED_BEFORE_TEXT.test(body.message))
  return {
    outcome,
    ...(providerCode === undefined ? {} : { providerCode }),
    ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }),
    ...(replayed ? { replayed } : {}),
  }
}

/**
 * Everything in a refusal that may be its code: what `readErrorBody` finds, then the finer word that some give beside
 * `invalid_grant`, then the fields in which others keep theirs.
 */
function wordsOf(text: string, { code }: ErrorBody): string[] {
  const fields = readAnswerFields(text) ?? {}
  const inner = isJsonObject(fields.error) ? fields.error : {}
  const places = [
    code,
    fields.suberror,
    fields.error_subtype,
    fields.error_reason,
    fields.error_code,
    fields.status,
    fields.__type,
    inner.message,
  ]
  return places.map(codeWord).filter(word => word !== undefined)
}

/** An outcome, and the word that showed it where another one stands before it. */
interface FoundOutcome {
  readonly outcome: TokenRequestOutcome
  readonly word?: string
}

function outcomeOf(status: number, body: ErrorBody, words: readonly string[], codes: RefreshCodes): FoundOutcome {
  if (status === 429) return { outcome: 'throttled' }
  if (status < 400) return { outcome: 'redirected' }
  if (status >= 500 || status === 408) return { outcome: 'unavailable' }
  if (isMalformed(status, body)) return { outcome: 'malformed' }
  // 404, 405, 410: the endpoint is not there (any more), which says nothing about the grant.
  return outcomeOfWords(body.message, words, codes) ?? { outcome: GONE.has(status) ? 'unavailable' : 'forbidden' }
}

const GONE: ReadonlySet<number> = new Set([404, 405, 410])

function isMalformed(status: number, { code, message }: ErrorBody): boolean {
  return (code === 'token_expired' && message.includes('could not validate')) || (status === 400 && EMPTY_TOKEN_TEXT.test(message))
}

function outcomeOfWords(message: string, words: readonly string[], codes: RefreshCodes): FoundOutcome | undefined {
  const [first, ...others] = words.flatMap(word => {
    const outcome = known(codes, word) ?? known(RFC_CODES, word) ?? known(DIALECT_CODES, word)
    return outcome ? [{ outcome, word }] : []
  })
  const finer = others.find(({ outcome }) => outcome === 'interaction_required')
  if (first?.outcome === 'invalidated') return BUSY_TEXT.test(message) ? { outcome: 'throttled' } : (finer ?? first)
  if ((!first || first.outcome === 'refused' || first.outcome === 'malformed') && DEAD_TOKEN_TEXT.test(message))
    return { outcome: 'invalidated' }
  return first?.outcome === 'malformed' && CLIENT_TEXT.test(message) ? { outcome: 'refused' } : first
}

function known(codes: RefreshCodes, word: string): TokenRequestOutcome | undefined {
  const name = word.toLowerCase()
  return Object.hasOwn(codes, name) ? codes[name] : undefined
}
