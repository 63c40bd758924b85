import type { AttemptOutcome } from '../domain/enums.ts'
import { type ErrorBody, providerNow, readErrorBody, retryAfterMs } from './error-body.ts'
import type { AttemptJudgement, RefusedAnswer } from './provider.ts'

/** Codes that are clear whatever the status they come with. */
const BY_CODE: Readonly<Record<string, AttemptOutcome>> = {
  token_invalidated: 'auth_permanent',
  token_revoked: 'auth_permanent',
  api_key_revoked: 'auth_permanent',
  account_deactivated: 'auth_permanent',
  account_disabled: 'auth_permanent',
  account_suspended: 'auth_permanent',
  organization_deactivated: 'auth_permanent',
  // The way out of the network is what is refused; no other answer comes until it is changed.
  unsupported_country_region_territory: 'auth_permanent',
  missing_scope: 'auth_permanent',
  insufficient_scope: 'auth_permanent',
  invalid_api_key: 'auth',
  token_expired: 'auth',
  authentication_error: 'auth',
  insufficient_quota: 'billing',
  billing_hard_limit_reached: 'billing',
  billing_not_active: 'billing',
  billing_error: 'billing',
  usage_not_included: 'billing',
  usage_limit_reached: 'rate_limit',
  rate_limit_exceeded: 'rate_limit',
  rate_limit_error: 'rate_limit',
  overloaded_error: 'overloaded',
  server_is_overloaded: 'overloaded',
  slow_down: 'overloaded',
  model_not_found: 'model_not_found',
  model_not_available: 'model_not_found',
}

/** What providers write where their code says nothing. Narrow: a message may echo words of the request. */
const BILLING_TEXT =
  /credit balance is too low|exceeded your current quota|insufficient (?:credits|balance|funds)|billing hard limit|requires? (?:more|additional) credits/
const DEAD_ACCOUNT_TEXT =
  /(?:account|organization|workspace|api key) (?:has been|is|was) (?:deactivated|disabled|suspended|revoked|deleted)/
const SCOPE_TEXT = /missing scopes?|insufficient (?:scope|permissions for this operation)/
const BAD_KEY_TEXT = /api key not valid|invalid api key|incorrect api key/
const MODEL_TEXT =
  /\bmodel\b.*(?:not (?:found|supported|available|exist)|does not exist|doesn't exist)|(?:unknown|unsupported|no such) model/
/** Texts that are clearer than the status; the first that matches counts. Without `statuses`: of each below 500. */
const TEXT_RULES: readonly { readonly statuses?: ReadonlySet<number>; readonly text: RegExp; readonly outcome: AttemptOutcome }[] = [
  { text: BILLING_TEXT, outcome: 'billing' },
  { statuses: new Set([401, 403]), text: DEAD_ACCOUNT_TEXT, outcome: 'auth_permanent' },
  { statuses: new Set([401, 403]), text: SCOPE_TEXT, outcome: 'auth_permanent' },
  { statuses: new Set([400]), text: BAD_KEY_TEXT, outcome: 'auth' },
  { statuses: new Set([400, 404]), text: MODEL_TEXT, outcome: 'model_not_found' },
]

/**
 * Judges a refused model call.
 *
 * Order: a code that is clear, a text that is clear, then the status. Two choices are worth knowing. An HTML 403 is a
 * wall in front of the provider (Cloudflare): it says nothing about the credential, so it is `overloaded`, transient,
 * and 403 with `overloaded` is distinguished from everything else. A refused region is `auth_permanent` with the provider's code:
 * it lasts until the network is changed, though signing in again is not the remedy.
 */
export function judgeAttempt(answer: RefusedAnswer): AttemptJudgement {
  const body = readErrorBody(answer)
  const outcome = outcomeOf(answer.status, body)
  const waitMs = waits(outcome) ? (retryAfterMs(answer.headers) ?? resetMs(answer, body) ?? spokenDelayMs(answer, body)) : undefined
  return {
    outcome,
    ...(body.code !== undefined && { providerCode: body.code }),
    ...(body.type !== undefined && body.type !== body.code && { providerType: body.type }),
    ...(waitMs !== undefined && { retryAfterMs: waitMs }),
    ...(body.limit.isOfModel && LIMITS.has(outcome) && { scope: 'model' as const }),
  }
}

/** Outcomes that a limit of one model can cause. */
const LIMITS: ReadonlySet<AttemptOutcome> = new Set(['rate_limit', 'overloaded'])
/** Statuses whose message may name a delay; elsewhere such words may be a user's text. */
const NAMES_DELAY: ReadonlySet<number> = new Set([429, 503, 529])

function outcomeOf(status: number, body: ErrorBody): AttemptOutcome {
  const outcome = outcomeOfWords(status, body)
  // A bill is not settled by waiting: a 429 that names a delay is a rate limit, though Gemini speaks of plan and billing in it.
  return outcome === 'billing' && status === 429 && body.limit.delayMs !== undefined ? 'rate_limit' : outcome
}

function outcomeOfWords(status: number, body: ErrorBody): AttemptOutcome {
  const { code, type, message, isHtml } = body
  const known = BY_CODE[code ?? ''] ?? BY_CODE[type ?? '']
  // authentication_error is Anthropic's word for every 401; a dead account is shown by the text alone.
  if (known && known !== 'auth') return known
  const spoken =
    isHtml || status >= 500 ? undefined : TEXT_RULES.find(rule => rule.statuses?.has(status) !== false && rule.text.test(message))
  return spoken?.outcome ?? known ?? byStatus(status, body)
}

function byStatus(status: number, { code, message, isHtml }: ErrorBody): AttemptOutcome {
  switch (status) {
    case 401:
      return 'auth'
    case 402:
      return 'billing'
    case 403:
      if (isHtml) return 'overloaded'
      return code === 'permission_error' ? 'auth_permanent' : 'auth'
    case 404:
    case 410:
      // Anthropic says `model: claude-x` under not_found_error; a path or an earlier response may be missing as well.
      return !isHtml && message.includes('model') ? 'model_not_found' : 'format'
    case 408:
    case 504:
    case 524:
      return 'timeout'
    case 409:
    case 425:
      return 'server_error'
    case 429:
      return 'rate_limit'
    case 503:
    case 529:
      return 'overloaded'
    default:
      // A redirect is a wrong address or a portal in between; neither is the fault of the request's form.
      return status >= 400 && status < 500 ? 'format' : 'server_error'
  }
}

/** A wait is read only where waiting is the remedy. */
function waits(outcome: AttemptOutcome): boolean {
  return WAITS.has(outcome)
}

const WAITS: ReadonlySet<AttemptOutcome> = new Set(['rate_limit', 'overloaded', 'server_error', 'timeout', 'billing'])

function spokenDelayMs({ status }: RefusedAnswer, { limit }: ErrorBody): number | undefined {
  return NAMES_DELAY.has(status) ? limit.delayMs : undefined
}

function resetMs({ headers }: RefusedAnswer, { resetsInMs, resetsAt }: ErrorBody): number | undefined {
  return resetsInMs ?? (resetsAt === undefined ? undefined : Math.max(0, resetsAt - providerNow(headers)))
}
