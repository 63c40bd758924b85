import { join } from 'node:path'
import { oauthCredential } from './found-credential.ts'
import type { Reading, SourceLocation } from './found-profile.ts'
import { SourceParser } from './parse-source.ts'
import { readSourceFields } from './source-fields.ts'
import { fileOf } from './source-location.ts'

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
