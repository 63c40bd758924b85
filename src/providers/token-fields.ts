import { bearerOf, type Credential } from '../domain/credential.ts'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { isJsonObject, jsonObjectLength, parseJsonList, parseJsonObject } from '../tools/json-object.ts'
import { registerSecret } from '../tools/secret-registry.ts'

/** What a lost token turns into when code puts nothing into a string; posted by real gateways (#82069). */
const STRINGIFIED_NOTHING = new Set(['undefined', 'null', 'NaN', '[object Object]'])

/**
 * The text of a token or key as it can be sent: a line break at its end, as files and variables have it, is taken off.
 * From here on nothing shows it.
 *
 * @returns `undefined` when there is nothing that could be a secret: missing, empty, or a stringified nothing.
 */
export function secretText(value: unknown): string | undefined {
  const text = typeof value === 'string' ? value.trim() : ''
  if (text === '' || STRINGIFIED_NOTHING.has(text)) return undefined
  registerSecret(text)
  return text
}

/**
 * The secret a request is authenticated with.
 *
 * @throws {GatewayError} `GW_NEEDS_LOGIN` when the credential has lost it; `GW_CONFIG` when it cannot stand in a header.
 */
export function requireSecret(credential: Credential, providerId: string): string {
  const secret = secretText(bearerOf(credential))
  if (secret === undefined) {
    throw new GatewayError(
      'GW_NEEDS_LOGIN',
      `the ${credential.type} credential for ${providerId} holds no secret; sign in again or store it again`,
      { next: 'sign_in_again' },
    )
  }
  if (!/^[\x21-\x7e]+$/.test(secret)) {
    throw configError(`the ${credential.type} credential for ${providerId} holds spaces or characters no header can carry; store it again`)
  }
  return secret
}

/**
 * Reads the claims of a JWT without verifying it: enough to know when our own token expires and whose it is, never
 * enough to trust anybody else's.
 *
 * @returns The payload, or `undefined` when the token is opaque. Never throws.
 * @see RFC 7519 section 3
 */
export function readJwtClaims(token: string): Readonly<Record<string, unknown>> | undefined {
  const parts = token.split('.')
  const payload = parts[1]
  if (parts.length !== 3 || !payload) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims) ? (claims as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** When the token expires by its own `exp`, epoch milliseconds; `undefined` when it does not say. */
export function expiryOfJwt(token: string): number | undefined {
  const exp = readJwtClaims(token)?.exp
  return typeof exp === 'number' && Number.isFinite(exp) && exp > 0 ? exp * 1000 : undefined
}

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

/** A token by its name in JSON, plain or escaped, or in a form; in snake or camel case. */
const TOKEN_NAME = /(?:access|refresh|id)_?token|\\u00/i

/** A form as a URL has it: pairs without spaces, quotation marks or brackets. */
const FORM = /^[\w.~%+-]+=[^\s"<>{}[\]]*$/

/**
 * Reads an answer of a token endpoint: JSON as RFC 6749 section 5.1 has it, the form that GitHub and older servers send,
 * camel case, tokens one level down in an envelope, a list of one object, and any of these with more bytes behind it.
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
  const body = withoutPadding(text)
  const json = parseJsonObject(body) ?? onlyObject(body) ?? leadingObject(body)
  if (json) return json
  const form = body.trim()
  if (!FORM.test(form)) return undefined
  const pairs = new URLSearchParams(form)
  return pairs.has('access_token') || pairs.has('error') ? Object.fromEntries(pairs) : undefined
}

/** Leaves out what stands behind a body without a meaning: white space, and the NUL that ends a text in C. */
function withoutPadding(text: string): string {
  let end = text.length
  while (end > 0 && /[\s\0]/.test(text[end - 1] ?? '')) end -= 1
  return text.slice(0, end)
}

/** The object of a list that holds nothing else. Of several none is chosen: which one holds would be a guess. */
function onlyObject(text: string): Record<string, unknown> | undefined {
  const [object, ...others] = parseJsonList(text) ?? []
  return others.length === 0 && isJsonObject(object) ? object : undefined
}

/**
 * The object at the beginning of a body that goes on behind it: a proxy or a server has written more than the answer.
 *
 * @returns `undefined` where what follows names a token as well: which of them holds would be a guess. A body that is written
 *   twice says the same both times.
 */
function leadingObject(text: string): Record<string, unknown> | undefined {
  const length = jsonObjectLength(text)
  if (length === undefined) return undefined
  const first = text.slice(0, length)
  const isAmbiguous = text
    .slice(length)
    .split(first)
    .some(rest => TOKEN_NAME.test(rest))
  return isAmbiguous ? undefined : parseJsonObject(first)
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
