import type { Request } from 'express'
import { parseJsonObject } from '../tools/json-object.ts'

/** A body as it came in: what it says it is, and its fields. */
interface RequestBody {
  readonly encoding: 'form' | 'json' | 'other'
  /** `undefined` when the body is not an object of that encoding. */
  readonly fields: Record<string, unknown> | undefined
}

/** Reads a body that express left as text: a form or a JSON object. */
export function readBody(request: Request): RequestBody {
  const text = typeof request.body === 'string' ? request.body : ''
  const type = request.get('content-type') ?? ''
  if (type.includes('application/x-www-form-urlencoded')) return { encoding: 'form', fields: Object.fromEntries(new URLSearchParams(text)) }
  if (type.includes('json')) return { encoding: 'json', fields: parseJsonObject(text) }
  return { encoding: 'other', fields: undefined }
}

/** A field as text; `undefined` when it is missing or not text. */
export function textField(fields: Record<string, unknown>, name: string): string | undefined {
  const value = fields[name]
  return typeof value === 'string' ? value : undefined
}

/** What the simulator wants to say to one request, before a fault may bend it. */
export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON; a string is sent unchanged. */
  readonly body?: unknown
  /** Server-sent events, each complete with its blank line; sent instead of `body`. */
  readonly events?: readonly string[]
  /** One word for the counts: `rotated`, `refresh_token_reused`, `ok`, ... */
  readonly code: string
}

/** The OpenAI way to say no: `{error: {message, type, param, code}}`. */
export function openAiError(
  code: string | null,
  message: string,
  { type = 'invalid_request_error', param = null }: { type?: string; param?: string | null } = {},
): { error: { message: string; type: string; param: string | null; code: string | null } } {
  return { error: { message, type, param, code } }
}

/** The OpenAI answer to a request that lacks a field. */
export function missingParameter(param: string): Answer {
  const code = 'missing_required_parameter'
  return { status: 400, body: openAiError(code, `Missing required parameter: '${param}'.`, { param }), code }
}

/** The way the ChatGPT backend says 401: an OpenAI error with the status repeated in the body. */
export function chatGptError(code: string, message: string): object {
  return { ...openAiError(code, message), status: 401 }
}

/** The Anthropic API's way to say no; the request id is a constant, so that equal requests get equal answers. */
export function anthropicError(type: string, message: string): object {
  return { type: 'error', error: { type, message }, request_id: 'req_simulated' }
}

/** The standard way to refuse a token request (RFC 6749 section 5.2). */
export function rfcError(error: string, description: string): { error: string; error_description: string } {
  return { error, error_description: description }
}

/** One server-sent event. Without a name only the data line is sent, as chat completions do. */
export function serverSentEvent(data: unknown, name?: string): string {
  const payload = typeof data === 'string' ? data : JSON.stringify(data)
  return `${name ? `event: ${name}\n` : ''}data: ${payload}\n\n`
}
