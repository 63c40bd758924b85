import { isJsonObject, parseJsonList } from '../tools/json-object.ts'
import { withoutSecrets } from '../tools/secret-registry.ts'
import type { RefusedAnswer } from './provider.ts'
import { readAnswerFields } from './token-fields.ts'

/**
 * What the body of a refusal says about the limit that was hit, beside its code: some providers send no `Retry-After` and
 * write the delay into the body, and some limits are one model's and not the account's.
 */
interface SpokenLimit {
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
function readSpokenLimit(message: string, details: unknown, model: string | undefined): SpokenLimit {
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

/** What error bodies of providers have in common, whatever their dialect. */
export interface ErrorBody {
  readonly code: string | undefined
  readonly type: string | undefined
  /** Lower case, for matching only; never recorded. */
  readonly message: string
  readonly isHtml: boolean
  /** When the limit that was hit is lifted, epoch milliseconds (ChatGPT's `resets_at`). */
  readonly resetsAt: number | undefined
  /** How long until then, in ms (ChatGPT's `resets_in_seconds`). */
  readonly resetsInMs: number | undefined
  /** What the body says of the limit that was hit. */
  readonly limit: SpokenLimit
}

/** Characters of a message that are matched; Google's lists every quota before it names the delay. */
const MESSAGE_READ = 8_000

/**
 * A provider's code as it may be recorded: words of letters with at most three digits each, joined by `_`, `.` or `-`.
 * A sentence does not fit, nor does a token that some endpoint echoes where its code belongs.
 */
const CODE = /^(?!(?:sk|rt|at|pk)[-_.]|eyJ)(?=.{1,64}$)[A-Za-z]+\d{0,3}(?:[_.-][A-Za-z]+\d{0,3})*$/

/**
 * Reads `{error: {code, type, message}}` (OpenAI, Anthropic), `{error, error_description}` (RFC 6749 section 5.2),
 * `{detail}` (the ChatGPT backend), `[{error: {status, message, details}}]` (Google, whose code is a number and whose
 * OpenAI-compatible endpoint sends a list) and anything else that may come instead.
 */
export function readErrorBody({ headers, body, model }: RefusedAnswer): ErrorBody {
  const isHtml = String(headers['content-type'] ?? '').includes('text/html') || /^\s*<(?:!doctype|html)/i.test(body)
  const { error, ...rest } = (isHtml ? undefined : (readAnswerFields(body) ?? firstObject(body))) ?? {}
  const inner = object(error) ?? (error === undefined ? object(rest.detail) : undefined)
  const code = inner ? (inner.code ?? inner.type) : (error ?? rest.code)
  const message = inner ? inner.message : (rest.error_description ?? rest.detail ?? rest.message)
  const text = typeof message === 'string' ? message.slice(0, MESSAGE_READ).toLowerCase() : ''
  return {
    code: codeWord(code) ?? codeWord(inner?.type) ?? codeWord(inner?.status),
    type: codeWord(inner?.type) ?? codeWord(inner?.status),
    message: text,
    isHtml,
    resetsAt: millisecondsOf(inner?.resets_at),
    resetsInMs: millisecondsOf(inner?.resets_in_seconds),
    limit: readSpokenLimit(text, inner?.details, model),
  }
}

/**
 * Reads `Retry-After`, which is seconds or a date (RFC 9110 section 10.2.3), or OpenAI's finer `retry-after-ms`.
 *
 * @param now Epoch milliseconds; by default the provider's own clock, so that ours may be wrong.
 * @returns Milliseconds from `now`, never negative; `undefined` when absent or unreadable.
 */
export function retryAfterMs(headers: RefusedAnswer['headers'], now = providerNow(headers)): number | undefined {
  const fine = headers['retry-after-ms']
  if (typeof fine === 'string' && /^\d{1,12}(?:\.\d{1,6})?$/.test(fine)) return Math.ceil(Number(fine))
  const value = headers['retry-after']
  if (typeof value !== 'string') return undefined
  if (/^\d{1,12}(?:\.\d{1,6})?$/.test(value)) return Math.ceil(Number(value) * 1000)
  // Date.parse makes a date of '-1'; an HTTP date begins with the name of a day.
  const at = /^[A-Za-z]{3}/.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

/** The provider's clock by the `Date` header of its answer, epoch milliseconds; ours where there is none. */
export function providerNow(headers: RefusedAnswer['headers']): number {
  return dateOf(headers) ?? Date.now()
}

/** The `Date` header, epoch milliseconds, whole seconds; `undefined` when absent or unreadable. */
export function dateOf(headers: RefusedAnswer['headers']): number | undefined {
  const at = typeof headers.date === 'string' ? Date.parse(headers.date) : Number.NaN
  return Number.isNaN(at) ? undefined : at
}

/** A provider's word as it may be recorded, or `undefined` for what may be anything else. */
export function codeWord(value: unknown): string | undefined {
  return typeof value === 'string' && CODE.test(value) && withoutSecrets(value, '') === value ? value : undefined
}

/** A positive number of seconds. */
function millisecondsOf(seconds: unknown): number | undefined {
  return typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined
}

/** The first object of a JSON list. */
function firstObject(text: string): Record<string, unknown> | undefined {
  const [first] = parseJsonList(text) ?? []
  return isJsonObject(first) ? first : undefined
}

function object(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
}
