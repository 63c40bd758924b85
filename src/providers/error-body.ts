import { isJsonObject, parseJsonList } from '../tools/json-object.ts'
import { withoutSecrets } from '../tools/secret-registry.ts'
import type { RefusedAnswer } from './provider.ts'
import { readSpokenLimit, type SpokenLimit } from './spoken-limit.ts'
import { readAnswerFields } from './token-fields.ts'

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
  const resetsAt = positive(inner?.resets_at)
  const resetsIn = positive(inner?.resets_in_seconds)
  return {
    code: codeWord(code) ?? codeWord(inner?.type) ?? codeWord(inner?.status),
    type: codeWord(inner?.type) ?? codeWord(inner?.status),
    message: text,
    isHtml,
    resetsAt: resetsAt === undefined ? undefined : resetsAt * 1000,
    resetsInMs: resetsIn === undefined ? undefined : resetsIn * 1000,
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

function positive(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : undefined
}

/** The first object of a JSON list. */
function firstObject(text: string): Record<string, unknown> | undefined {
  const [first] = parseJsonList(text) ?? []
  return isJsonObject(first) ? first : undefined
}

function object(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
}
