import { join } from 'node:path'
import {
  type CredentialReading,
  keyCredential,
  oauthCredential,
  type Reading,
  type SourceLocation,
  tokenCredential,
} from './found-profile.ts'
import { fileOf, readSourceFields, type SourceFields, SourceParser } from './source-file.ts'

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

/**
 * Reads the login of the Codex CLI: `auth.json` of `CODEX_HOME`, else of `~/.codex`, with the tokens of a ChatGPT login, an
 * API key, or both.
 *
 * @throws {GatewayError} `GW_CONFIG` when there is none, `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`.
 */
export async function readCodexLogin(place: SourceLocation, now: number): Promise<Reading> {
  const folder = place.environment.CODEX_HOME || join(place.home, '.codex')
  const path = await fileOf(place, folder, 'auth.json', 'sign in with codex login, or name the file with --path')
  const fields = await readSourceFields(path)
  const reading = new SourceParser()
  reading.addPlace(path)
  const tokens = fields.object('tokens')
  if (tokens) {
    const parts = {
      access: tokens.text('access_token'),
      refresh: tokens.text('refresh_token'),
      idToken: tokens.text('id_token'),
      account: tokens.text('account_id'),
      issuedAt: momentOf(fields.text('last_refresh')),
    }
    reading.add('openai-codex:codex-cli', 'openai-codex', oauthCredential(parts, now))
  }
  const key = fields.text('OPENAI_API_KEY')
  if (key !== undefined) reading.add('openai:codex-cli', 'openai', keyCredential(key))
  if (!tokens && key === undefined)
    reading.note('The file holds neither "tokens" nor "OPENAI_API_KEY": Codex is signed out, or keeps its login in the keychain.')
  return reading.done()
}

function momentOf(text: string | undefined): number | undefined {
  const moment = Date.parse(text ?? '')
  return Number.isNaN(moment) ? undefined : moment
}

/**
 * Reads the login of the Gemini CLI: `oauth_creds.json` of `~/.gemini`. Its provider is called `google`.
 *
 * @throws {GatewayError} `GW_CONFIG` when there is none, `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`.
 */
export async function readGeminiLogin(place: SourceLocation, now: number): Promise<Reading> {
  const hint = 'sign in with gemini, or name the file with --path'
  const path = await fileOf(place, join(place.home, '.gemini'), 'oauth_creds.json', hint)
  const fields = await readSourceFields(path)
  const reading = new SourceParser()
  reading.addPlace(path)
  const parts = {
    access: fields.text('access_token'),
    refresh: fields.text('refresh_token'),
    idToken: fields.text('id_token'),
    expiresAt: fields.moment('expiry_date'),
    scope: fields.text('scope'),
  }
  reading.add('google:gemini-cli', 'google', oauthCredential(parts, now))
  return reading.done()
}
