import { isJsonObject, parseJsonObject } from '../tools/json-object.ts'
import { secretText } from './secret-text.ts'

/** The fields of an answer of a token endpoint, by their names in RFC 6749. Values are as they came. */
export type TokenFields = Readonly<Record<string, unknown>>

/** Names of RFC 6749 section 5.1 as JavaScript servers spell them. */
const CAMEL_CASE = {
  access_token: 'accessToken',
  refresh_token: 'refreshToken',
  id_token: 'idToken',
  expires_in: 'expiresIn',
  token_type: 'tokenType',
} as const

/** Where servers that wrap every answer put what is in it. */
const ENVELOPES = ['body', 'data', 'result'] as const

/** A form as a URL has it: pairs without spaces, quotation marks or brackets. */
const FORM = /^[\w.~%+-]+=[^\s"<>{}[\]]*$/

/**
 * Reads an answer of a token endpoint: JSON as RFC 6749 section 5.1 has it, the form that GitHub and older servers send,
 * camel case, and tokens one level down in an envelope.
 *
 * @param text The body, inflated; see `readText`.
 * @returns `undefined` for what is none of these. Never throws.
 */
export function readTokenFields(text: string): TokenFields | undefined {
  const fields = readAnswerFields(text)
  if (!fields) return undefined
  const holder = [fields, ...ENVELOPES.map(name => fields[name]).filter(isJsonObject)].find(holdsToken) ?? fields
  const named = Object.entries(CAMEL_CASE).flatMap(([name, alias]) =>
    holder[name] === undefined && holder[alias] !== undefined ? [[name, holder[alias]]] : [],
  )
  return { ...holder, ...Object.fromEntries(named) }
}

/** The fields of a body that is a JSON object or a form with an OAuth field in it; whatever they are called. */
export function readAnswerFields(text: string): Record<string, unknown> | undefined {
  const json = parseJsonObject(text)
  if (json) return json
  const form = text.trim()
  if (!FORM.test(form)) return undefined
  const pairs = new URLSearchParams(form)
  return pairs.has('access_token') || pairs.has('error') ? Object.fromEntries(pairs) : undefined
}

/**
 * Says whether an answer refuses what was asked for, whatever its status: GitHub, Slack and others refuse with 200.
 *
 * Where tokens came all the same they count: throwing them away would end the login.
 */
export function isTokenRefusal(status: number, fields: TokenFields | undefined): boolean {
  if (status < 200 || status > 299) return true
  if (!fields || secretText(fields.access_token) !== undefined) return false
  const { error, ok, errcode } = fields
  return (
    (typeof error === 'string' && error.trim() !== '') ||
    isJsonObject(error) ||
    ok === false ||
    (typeof errcode === 'number' && errcode !== 0)
  )
}

function holdsToken(fields: Record<string, unknown>): boolean {
  return secretText(fields.access_token) !== undefined || secretText(fields.accessToken) !== undefined
}
