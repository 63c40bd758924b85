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
