import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'

/** What a token request looks like: which fields, of what kind; never a value. */
export interface Shape {
  readonly encoding: 'form' | 'json' | 'other' | 'none'
  /** `name=class` pairs, sorted by name, one space between. */
  readonly fields: string
  /** The `grant_type`, when it is one of the registered ones. */
  readonly grantType: string | undefined
  /** Fingerprint of the refresh token in it. */
  readonly refreshFingerprint: Fingerprint | undefined
}

const MOST_FIELDS = 40
const NAME = /^[\w.-]{1,40}$/
const GRANT_TYPES = [
  'refresh_token',
  'authorization_code',
  'client_credentials',
  'password',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:ietf:params:oauth:grant-type:token-exchange',
]

/** Reads the shape of a token request's body. Both encodings seen in the wild are read, whatever the content type says. */
export function shapeOf(body: string): Shape {
  const text = body.trim()
  if (text === '') return { encoding: 'none', fields: '', grantType: undefined, refreshFingerprint: undefined }
  const json = text.startsWith('{') ? parseObject(text) : undefined
  const form = !json && /^[\w.%+-]+=/.test(text) ? Object.fromEntries(new URLSearchParams(text)) : undefined
  const fields = json ?? form
  if (!fields) return { encoding: 'other', fields: '', grantType: undefined, refreshFingerprint: undefined }
  const refresh = fields.refresh_token
  return {
    encoding: json ? 'json' : 'form',
    fields: Object.keys(fields)
      .sort()
      .slice(0, MOST_FIELDS)
      .map(
        name =>
          `${NAME.test(name) ? name : '[unreadable]'}=${name === 'grant_type' ? (knownGrant(fields[name]) ?? 'unknown') : classOf(fields[name])}`,
      )
      .join(' '),
    grantType: knownGrant(fields.grant_type),
    refreshFingerprint: typeof refresh === 'string' ? fingerprint(refresh) : undefined,
  }
}

/** The class of a value: enough to tell a token from what a careless program made of a missing one. */
export function classOf(value: unknown): string {
  if (value === undefined) return 'absent'
  if (value === '') return 'empty'
  if (value === 'undefined' || value === 'null') return `literal:${value}`
  if (value === null) return 'null'
  if (typeof value !== 'string') return typeof value
  return /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/.test(value) ? 'jwt' : `opaque:${value.length}`
}

function knownGrant(value: unknown): string | undefined {
  return typeof value === 'string' && GRANT_TYPES.includes(value) ? value : undefined
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}
