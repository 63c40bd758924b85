import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { secretText } from '../providers/secret-text.ts'
import { hideText } from '../tools/hidden-texts.ts'
import { parseJsonObject } from '../tools/json-object.ts'
import { FILE_PART, readMultipart } from './multipart.ts'
import { KNOWN_FIELDS, shownReason, shownScope } from './token-fields.ts'

/** What a token request looks like: which fields, of what kind; never a value. */
export interface Shape {
  readonly encoding: 'form' | 'json' | 'multipart' | 'other' | 'none'
  /** `name=class` pairs, sorted by name, one space between. */
  readonly fields: string
  /** The `grant_type`, when it is one of the registered ones. */
  readonly grantType: string | undefined
  /** It says what it grants: a token request, wherever it goes. */
  readonly asksForToken: boolean
  /** Fingerprint of the refresh token in it. */
  readonly refreshFingerprint: Fingerprint | undefined
  /** It asks for a refresh, and what stands for the refresh token is none: absent, empty, a stringified nothing. */
  readonly isTokenless: boolean
  /** Fingerprint of the client id. */
  readonly clientFingerprint: Fingerprint | undefined
  /** Digest of what is asked for besides: client, scopes and audience. Two requests that differ in it get different tokens. */
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
 * Reads the shape of a token request's body. Every encoding seen in the wild is read, whatever the content type says.
 *
 * @param body The whole body, or `undefined` when it could not be heard or was too long for a token request.
 */
export function shapeOf(body: string | undefined): Shape {
  if (body === undefined) return unread('other')
  const text = body.trim()
  if (text === '') return unread('none')
  const json = text.startsWith('{') ? parseJsonObject(text) : undefined
  if (json) return read('json', json)
  const multipart = readMultipart(text)
  if (multipart) return read('multipart', multipart)
  return /^[^\s=&]{1,200}=/.test(text) ? read('form', Object.fromEntries(new URLSearchParams(text))) : unread('other')
}

/** The class of a value: enough to tell a token from what a careless program made of a missing one. */
export function classOf(value: unknown): string {
  if (value === undefined) return 'absent'
  if (value === null) return 'null'
  if (value === FILE_PART) return 'file'
  if (typeof value !== 'string') return typeof value
  if (value === '') return 'empty'
  if (value === 'undefined' || value === 'null') return `literal:${value}`
  if (value === '[object Object]') return 'literal:object'
  return /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/.test(value) ? 'jwt' : `opaque:${value.length}`
}

function unread(encoding: 'other' | 'none'): Shape {
  return {
    encoding,
    fields: '',
    grantType: undefined,
    asksForToken: false,
    refreshFingerprint: undefined,
    isTokenless: false,
    clientFingerprint: undefined,
    rest: '',
    scopes: undefined,
    declaredReason: undefined,
  }
}

function read(encoding: 'form' | 'json' | 'multipart', fields: Fields): Shape {
  const { refresh_token: refresh, grant_type: grantType, client_id: client, scope, refresh_reason: declared } = fields
  for (const name of SECRET_FIELDS) hideText(textOf(fields[name]))
  const token = secretText(refresh)
  const pairs = Object.keys(fields)
    .slice(0, MOST_FIELDS)
    .map(name => `${nameOf(name)}=${name === 'grant_type' ? (knownGrant(grantType) ?? classOf(grantType)) : classOf(fields[name])}`)
  return {
    encoding,
    fields: pairs.sort().join(' '),
    grantType: knownGrant(grantType),
    asksForToken: typeof grantType === 'string' && grantType !== '',
    refreshFingerprint: textOf(refresh) === undefined ? undefined : fingerprint(textOf(refresh)),
    isTokenless: grantType === 'refresh_token' && token === undefined,
    clientFingerprint: fingerprint(textOf(client)),
    rest: restOf(fields),
    scopes: scopesOf(textOf(scope)),
    declaredReason: shownReason(declared),
  }
}

/** The parameters that decide what a refresh grants (RFC 6749 section 6, RFC 8707 section 2.2, and `audience`, which some providers have). */
function restOf({ client_id: client, scope, resource, audience }: Fields): Fingerprint {
  const scopes = textOf(scope)?.split(/\s+/).sort()
  return fingerprint(JSON.stringify([client, scopes, resource, audience])) ?? ''
}

function scopesOf(scope: string | undefined): string | undefined {
  return scope?.split(/\s+/).slice(0, MOST_SCOPES).map(shownScope).sort().join(' ')
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A name nobody expects may be a token itself: a body that is nothing but a token reads as a form with one field. */
function nameOf(name: string): string {
  return KNOWN_FIELDS.has(name) ? name : `[field:${name.length}]`
}

function knownGrant(value: unknown): string | undefined {
  return typeof value === 'string' && GRANT_TYPES.includes(value) ? value : undefined
}
