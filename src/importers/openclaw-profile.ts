import { type CredentialReading, keyCredential, oauthCredential, tokenCredential } from './found-credential.ts'
import type { SidecarReading } from './openclaw-sidecar.ts'
import type { SourceFields } from './source-fields.ts'

/** Names of environment variables that OpenClaw lets a reference name. */
const VARIABLE = /^[A-Z][A-Z0-9_]{0,127}$/

/** What a profile of OpenClaw is called here. */
export interface OpenClawName {
  readonly id: string
  readonly provider: string
}

/**
 * The provider and id of a profile here. Since 2026.6 OpenClaw calls ChatGPT logins `openai`; they are still another
 * provider than the API: they go to the ChatGPT backend and are paid by subscription.
 */
export function nameOf(id: string, provider: string, type: string): OpenClawName {
  const providerHere = provider === 'openai' && type === 'oauth' ? 'openai-codex' : provider
  return { id: providerHere === 'openai-codex' ? id.replace(/^openai:/, 'openai-codex:') : id, provider: providerHere }
}

/**
 * Reads one credential of OpenClaw.
 *
 * @param sidecar What is in the encrypted file, for a profile that refers to one.
 */
export function readOpenClawCredential(fields: SourceFields, sidecar: SidecarReading | undefined, now: number): CredentialReading {
  const type = fields.text('type')
  switch (type) {
    case 'api_key':
      return referred(fields, 'key', keyCredential)
    case 'token':
      return referred(fields, 'token', token => tokenCredential(token, fields.moment('expires'), now))
    case 'oauth':
      return sidecar && sidecar.tokens === undefined ? sidecar : oauthOf(fields, sidecar?.tokens ?? fields, now)
    default:
      return { why: 'its "type" is none of "api_key", "token" and "oauth"' }
  }
}

function oauthOf(fields: SourceFields, tokens: SourceFields, now: number): CredentialReading {
  const parts = {
    access: tokens.text('access'),
    refresh: tokens.text('refresh'),
    idToken: tokens.text('idToken'),
    expiresAt: fields.moment('expires'),
    account: fields.text('accountId'),
  }
  return oauthCredential(parts, now)
}

/** A secret that stands in the profile, or that the profile only refers to. */
function referred(fields: SourceFields, key: 'key' | 'token', make: (secret: string | undefined) => CredentialReading): CredentialReading {
  const secret = fields.text(key)
  const reference = secret === undefined ? fields.object(`${key}Ref`) : undefined
  if (!reference) return make(secret)
  const variable = reference.text('id') ?? ''
  if (reference.text('source') !== 'env' || !VARIABLE.test(variable))
    return { why: `its ${key} is not stored but referred to ("${key}Ref"): look it up there and add it with gatewatch profiles add` }
  return {
    why: `its ${key} is not stored: OpenClaw reads it from ${variable}; add it with gatewatch profiles add --api-key-env ${variable}`,
  }
}
