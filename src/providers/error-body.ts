import type { RefusedAnswer } from './provider.ts'

/** What error bodies of providers have in common, whatever their dialect. */
export interface ErrorBody {
  readonly code: string | undefined
  readonly type: string | undefined
  /** Lower case, for matching only; never recorded. */
  readonly message: string
  readonly isHtml: boolean
}

/** A provider's code as it may be recorded: a word, not a sentence. */
const CODE = /^[A-Za-z][\w.-]{0,63}$/

/**
 * Reads `{error: {code, type, message}}` (OpenAI, Anthropic), `{error, error_description}` (RFC 6749 section 5.2) and
 * anything else that may come instead.
 */
export function readErrorBody({ headers, body }: RefusedAnswer): ErrorBody {
  const isHtml = String(headers['content-type'] ?? '').includes('text/html') || /^\s*<(?:!doctype|html)/i.test(body)
  const { error, ...rest } = (isHtml ? {} : parseObject(body)) as Record<string, unknown>
  const inner = typeof error === 'object' && error !== null ? (error as Record<string, unknown>) : undefined
  const code = inner ? (inner.code ?? inner.type) : (error ?? rest.code)
  const message = inner ? inner.message : rest.error_description
  return {
    code: word(code),
    type: word(inner?.type),
    message: typeof message === 'string' ? message.slice(0, 2000).toLowerCase() : '',
    isHtml,
  }
}

/**
 * Reads `Retry-After`, which is seconds or a date (RFC 9110 section 10.2.3).
 *
 * @returns Milliseconds from `now`, never negative; `undefined` when absent or unreadable.
 */
export function retryAfterMs(headers: RefusedAnswer['headers'], now = Date.now()): number | undefined {
  const value = headers['retry-after']
  if (typeof value !== 'string') return undefined
  if (/^\d+$/.test(value)) return Number(value) * 1000
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

function word(value: unknown): string | undefined {
  return typeof value === 'string' && CODE.test(value) ? value : undefined
}

function parseObject(text: string): object {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? parsed : {}
  } catch {
    return {}
  }
}
