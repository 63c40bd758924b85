import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { FILE_PART, readMultipart } from '../http-clients/request-body.ts'
import { secretText } from '../providers/token-fields.ts'
import { parseJsonObject } from '../tools/json-object.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import { KNOWN_FIELDS, shownReason, shownScope, spellingsOf } from './token-fields.ts'

/**
 * What a request asks a token endpoint for. `unknown`: its body could not be read, or shows neither a grant type nor a refresh
 * token.
 */
export type AskedGrant = 'refresh' | 'other' | 'unknown'

/** What a token request looks like: which fields, of what kind; never a value. */
export interface RequestSummary {
  readonly encoding: 'form' | 'json' | 'multipart' | 'query' | 'other' | 'none'
  /** `name=class` pairs, sorted by name, one space between. */
  readonly fields: string
  /** The `grant_type`, when it is one of the registered ones. */
  readonly grantType: string | undefined
  /** It says what it grants: a token request, wherever it goes. */
  readonly asksForToken: boolean
  /** Only a refresh is judged by a refresh gate. */
  readonly grant: AskedGrant
  /** Fingerprint of the refresh token in it. */
  readonly refreshFingerprint: Fingerprint | undefined
  /** It asks for a refresh, and what stands for the refresh token is none: absent, empty, a stringified nothing. */
  readonly isTokenless: boolean
  /** Fingerprint of the client id. */
  readonly clientFingerprint: Fingerprint | undefined
  /** Digest of what else is asked for: client, scopes and audience. Two requests that differ in it get different tokens. */
  readonly rest: Fingerprint
  /** Scopes asked for, sorted, one space between. */
  readonly scopes: string | undefined
  /** Why the client itself says it refreshes (`refresh_reason` of the Codex CLI). */
  readonly declaredReason: string | undefined
}

const MOST_FIELDS = 40
const MOST_SCOPES = 40
const GRANT_TYPES = [
  'refresh_token',
  'authorization_code',
  'client_credentials',
  'password',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:ietf:params:oauth:grant-type:token-exchange',
  'urn:ietf:params:oauth:grant-type:jwt-bearer',
]

/** Fields whose values nothing may ever show, whatever they look like. */
const SECRET_FIELDS = [
  'client_secret',
  'code',
  'code_verifier',
  'device_code',
  'assertion',
  'client_assertion',
  'password',
  'subject_token',
]

type Fields = Readonly<Record<string, unknown>>

/**
 * Reads the shape of a token request. Every encoding seen in the wild is read, whatever the content type says, and fields of
 * the query too (Supabase has the grant type there, Zoho all of them).
 *
 * @param body The whole body, or `undefined` when it could not be heard or was too long for a token request.
 * @param query Of the URL, with its question mark. @default ''
 */
export function summarizeRequest(body: string | undefined, query = ''): RequestSummary {
  const { encoding, fields } = bodyFields(body)
  if (!mayNameGrant(query)) return fields ? read(encoding, fields) : unread(encoding)
  return read(encoding === 'none' ? 'query' : encoding, { ...Object.fromEntries(new URLSearchParams(query)), ...fields })
}

/** Whether a text may say what a token request grants, in any spelling and encoding. */
export function mayNameGrant(text: string): boolean {
  return text.includes('grant_type') || text.includes('grantType')
}

function bodyFields(body: string | undefined): { encoding: RequestSummary['encoding']; fields?: Fields } {
  if (body === undefined) return { encoding: 'other' }
  const text = body.trim()
  if (text === '') return { encoding: 'none' }
  const json = text.startsWith('{') ? parseJsonObject(text) : undefined
  if (json) return { encoding: 'json', fields: json }
  const multipart = readMultipart(text)
  if (multipart) return { encoding: 'multipart', fields: multipart }
  if (!/^[^\s=&]{1,200}=/.test(text)) return { encoding: 'other' }
  return { encoding: 'form', fields: Object.fromEntries(new URLSearchParams(text)) }
}

/** The class of a value: enough to distinguish a token from what a careless program made of a missing one. */
export function valueClassOf(value: unknown): string {
  if (value === undefined) return 'absent'
  if (value === null) return 'null'
  if (value === FILE_PART) return 'file'
  if (typeof value !== 'string') return typeof value
  if (value === '') return 'empty'
  if (value === 'undefined' || value === 'null') return `literal:${value}`
  if (value === '[object Object]') return 'literal:object'
  return /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/.test(value) ? 'jwt' : `opaque:${value.length}`
}

function unread(encoding: RequestSummary['encoding']): RequestSummary {
  return {
    encoding,
    fields: '',
    grantType: undefined,
    asksForToken: false,
    grant: 'unknown',
    refreshFingerprint: undefined,
    isTokenless: false,
    clientFingerprint: undefined,
    rest: '',
    scopes: undefined,
    declaredReason: undefined,
  }
}

function read(encoding: RequestSummary['encoding'], fields: Fields): RequestSummary {
  const { scope, refresh_reason: declared } = fields
  const [refresh, grantType, client] = ['refresh_token', 'grant_type', 'client_id'].map(name => fieldOf(fields, name))
  for (const name of SECRET_FIELDS) for (const spelling of spellingsOf(name)) registerSecret(textOf(fields[spelling]))
  const token = secretText(refresh)
  const asksForToken = typeof grantType === 'string' && grantType !== ''
  const pairs = Object.keys(fields)
    .slice(0, MOST_FIELDS)
    .map(
      name => `${nameOf(name)}=${name === 'grant_type' ? (knownGrant(grantType) ?? valueClassOf(grantType)) : valueClassOf(fields[name])}`,
    )
  return {
    encoding,
    fields: pairs.sort().join(' '),
    grantType: knownGrant(grantType),
    asksForToken,
    grant: asksForToken ? (grantType === 'refresh_token' ? 'refresh' : 'other') : token === undefined ? 'unknown' : 'refresh',
    refreshFingerprint: textOf(refresh) === undefined ? undefined : fingerprint(textOf(refresh)),
    isTokenless: grantType === 'refresh_token' && token === undefined,
    clientFingerprint: fingerprint(textOf(client)),
    rest: restOf(client, fields),
    scopes: scopesOf(textOf(scope)),
    declaredReason: shownReason(declared),
  }
}

/** The parameters that decide what a refresh grants (RFC 6749 section 6, RFC 8707 section 2.2, and `audience`, which some providers have). */
function restOf(client: unknown, { scope, resource, audience }: Fields): Fingerprint {
  const scopes = textOf(scope)?.split(/\s+/).sort()
  return fingerprint(JSON.stringify([client, scopes, resource, audience])) ?? ''
}

function scopesOf(scope: string | undefined): string | undefined {
  return scope?.split(/\s+/).slice(0, MOST_SCOPES).map(shownScope).sort().join(' ')
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The value of a field, however its name is spelled. */
function fieldOf(fields: Fields, name: string): unknown {
  const spelling = spellingsOf(name).find(spelled => Object.hasOwn(fields, spelled))
  return spelling && fields[spelling]
}

/** An unexpected name may be a token itself: a body that is nothing but a token reads as a form with one field. */
function nameOf(name: string): string {
  return KNOWN_FIELDS.has(name) ? name : `[field:${name.length}]`
}

function knownGrant(value: unknown): string | undefined {
  return typeof value === 'string' && GRANT_TYPES.includes(value) ? value : undefined
}
