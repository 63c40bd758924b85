import { isJsonObject } from '../tools/json-object.ts'

/**
 * What the body of a refusal says about the limit that was hit, beside its code: some providers send no `Retry-After` and
 * write the delay into the body, and some limits are one model's and not the account's.
 */
export interface SpokenLimit {
  /** How long to wait, in ms; `undefined` where the body names no delay. */
  readonly delayMs: number | undefined
  /** The limit belongs to the model that was asked: other models of the same login are not concerned. */
  readonly isOfModel: boolean
}

const UNIT_MS: readonly (readonly [unit: RegExp, ms: number])[] = [
  [/^(?:ms|millis|milliseconds?)$/, 1],
  [/^(?:s|secs?|seconds?)$/, 1000],
  [/^(?:m|mins?|minutes?)$/, 60_000],
  [/^(?:h|hrs?|hours?)$/, 3_600_000],
  [/^(?:d|days?)$/, 86_400_000],
]

const PART = /(\d{1,9}(?:\.\d{1,12})?)\s*([a-z]+)/
/** `2.5s`, `1m26.4s`, `1 hour 5 minutes`, `20 seconds`. */
const DURATION =
  /(?:\d{1,9}(?:\.\d{1,12})?\s*(?:days?|d|hours?|hrs?|h|minutes?|mins?|milliseconds?|millis|ms|m|seconds?|secs?|s)(?![a-z])[\s,]*(?:and\s+)?){1,5}/
/** OpenAI "Please try again in 2.5s.", Gemini "Please retry in 34.07s.", Azure "Please retry after 20 seconds.", GitHub "Please wait 45 seconds". */
const DELAY_TEXT = new RegExp(
  `(?:(?:try again|retry|retrying)(?: again)? (?:in|after)|please wait)(?: about| approximately)?\\s+(${DURATION.source})`,
)
/** A `RetryInfo` inside a message: proxies put the whole body of Google into theirs. */
const DELAY_IN_TEXT = /retrydelay\W{1,6}(\d{1,9}(?:\.\d{1,12})?s)\b/

/** OpenAI names the model between these words; Anthropic and Google write `model: X`. */
const MODEL_NAMED =
  /\b(?:limit reached for|too large for) ([\w./:-]{2,100})(?: \(for limit [^)]{1,100}\))? in organization\b|\b(?:base[ _])?model: ["'`]?([\w./:-]{2,100})/g
const THIS_MODEL = /\b(?:that|this|the) model is (?:currently |temporarily )?(?:overloaded|at capacity|rate.limited)/

/**
 * Reads what an error body says about its limit.
 *
 * @param message The provider's message, in lower case; matched only, never kept.
 * @param details The body's `error.details`, as Google's APIs send it (google.rpc.RetryInfo, google.rpc.QuotaFailure).
 * @param model The model that was asked for.
 * @see https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
 */
export function readSpokenLimit(message: string, details: unknown, model: string | undefined): SpokenLimit {
  const known = Array.isArray(details) ? details.filter(isJsonObject) : []
  return {
    delayMs: delayOfRetryInfo(known) ?? durationMs(DELAY_TEXT.exec(message)?.[1] ?? DELAY_IN_TEXT.exec(message)?.[1]),
    isOfModel: known.some(isQuotaOfModel) || THIS_MODEL.test(message) || namesModel(message, model?.toLowerCase()),
  }
}

/** `"1m26.4s"` in milliseconds; `undefined` for what is no duration. */
function durationMs(text: string | undefined): number | undefined {
  let left = text ?? ''
  let sum: number | undefined
  for (let part = PART.exec(left); part; part = PART.exec(left)) {
    const [whole, amount = '', word = ''] = part
    const ms = UNIT_MS.find(([unit]) => unit.test(word))?.[1]
    if (ms === undefined) break
    sum = (sum ?? 0) + Number(amount) * ms
    left = left.slice(part.index + whole.length)
  }
  return sum === undefined ? undefined : Math.ceil(sum)
}

/** A protobuf Duration in JSON: seconds with up to nine fractional digits, and an `s`. */
function delayOfRetryInfo(details: readonly Record<string, unknown>[]): number | undefined {
  const info = details.find(detail => String(detail['@type'] ?? '').endsWith('google.rpc.RetryInfo'))
  return typeof info?.retryDelay === 'string' && /^\d{1,9}(?:\.\d{1,9})?s$/.test(info.retryDelay) ? durationMs(info.retryDelay) : undefined
}

/** A QuotaFailure that counts by model: `quotaDimensions.model`, or `…PerModel…` in the name of the quota. */
function isQuotaOfModel(detail: Record<string, unknown>): boolean {
  if (!String(detail['@type'] ?? '').endsWith('google.rpc.QuotaFailure') || !Array.isArray(detail.violations)) return false
  return detail.violations.filter(isJsonObject).some(({ quotaId, quotaDimensions }) => {
    return (isJsonObject(quotaDimensions) && typeof quotaDimensions.model === 'string') || /PerModel/.test(String(quotaId ?? ''))
  })
}

/** The message names the model that was asked for; limits of a family are named by its shorter name. */
function namesModel(message: string, model: string | undefined): boolean {
  if (!model) return false
  for (const [, inOrganization, afterColon] of message.matchAll(MODEL_NAMED)) {
    const named = (inOrganization ?? afterColon ?? '').replace(/[.:]+$/, '')
    if (named !== '' && (model.startsWith(named) || named.startsWith(model) || named.endsWith(`/${model}`))) return true
  }
  return false
}
