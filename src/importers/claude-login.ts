import { join } from 'node:path'
import { type CredentialReading, oauthCredential, tokenCredential } from './found-credential.ts'
import type { Reading, SourceLocation } from './found-profile.ts'
import { SourceParser } from './parse-source.ts'
import { readSourceFields, type SourceFields } from './source-fields.ts'
import { fileOf } from './source-location.ts'

const HINT = 'sign in with claude, or name the file with --path (on macOS Claude Code keeps its login in the keychain, which is not read)'

/**
 * Reads the login of Claude Code: `.credentials.json` of `CLAUDE_CONFIG_DIR`, else of `~/.claude`.
 *
 * @throws {GatewayError} `GW_CONFIG` when there is none, `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`.
 */
export async function readClaudeLogin(place: SourceLocation, now: number): Promise<Reading> {
  const folder = place.environment.CLAUDE_CONFIG_DIR || join(place.home, '.claude')
  const path = await fileOf(place, folder, '.credentials.json', HINT)
  const login = (await readSourceFields(path)).object('claudeAiOauth')
  const reading = new SourceParser()
  reading.addPlace(path)
  if (login) reading.add('anthropic:claude-cli', 'anthropic', credentialOf(login, now))
  else reading.note('The file holds no "claudeAiOauth": Claude Code is signed out, or pays by API key.')
  return reading.done()
}

/** A token of `claude setup-token` comes without a refresh token and lives for a year: it is a plain bearer token. */
function credentialOf(login: SourceFields, now: number): CredentialReading {
  const access = login.text('accessToken')
  const refresh = login.text('refreshToken')
  const expiresAt = login.moment('expiresAt')
  if (refresh === undefined) return tokenCredential(access, expiresAt, now)
  return oauthCredential({ access, refresh, expiresAt, scope: login.texts('scopes').join(' ') }, now)
}
