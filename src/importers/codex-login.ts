import { join } from 'node:path'
import { keyCredential, oauthCredential } from './found-credential.ts'
import type { Reading, SourceLocation } from './found-profile.ts'
import { SourceParser } from './parse-source.ts'
import { readSourceFields } from './source-fields.ts'
import { fileOf } from './source-location.ts'

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
