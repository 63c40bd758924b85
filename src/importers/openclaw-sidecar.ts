import { createDecipheriv, createHash } from 'node:crypto'
import { join } from 'node:path'
import { parseJsonObject } from '../tools/json-object.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import type { SourceLocation } from './found-profile.ts'
import { fieldsOf, readSourceFields, type SourceFields } from './source-fields.ts'
import { isThere, readSourceUnmodified } from './source-file.ts'

/** The tokens that OpenClaw 2026.5 kept apart from their profile, or why they cannot be had. */
export type SidecarReading =
  | { readonly tokens: SourceFields; readonly path: string }
  | { readonly tokens?: undefined; readonly why: string }

/** What a profile says of its sidecar, and where to look. */
export interface SidecarSearch {
  readonly profileId: string
  readonly provider: string
  /** `oauthRef` of the profile. */
  readonly reference: SourceFields
  readonly folders: readonly string[]
  readonly place: SourceLocation
}

const KEY_VARIABLE = 'OPENCLAW_AUTH_PROFILE_SECRET_KEY'
const KEY_FILE = 'auth-profile-secret-key'
const ALGORITHM = 'aes-256-gcm'
const TAG_BYTES = 16

/**
 * Reads the encrypted sidecar of a profile. What cannot be decrypted is reported as that: OpenClaw went on with a profile
 * without tokens and posted `refresh_token=undefined` (openclaw#82069).
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED` for a file that is no JSON or has members of other types.
 */
export async function readSidecar(search: SidecarSearch): Promise<SidecarReading> {
  const id = search.reference.text('id') ?? ''
  // It becomes a file name.
  if (!/^[a-f0-9]{32}$/.test(id)) return { why: 'its tokens lie in a file of their own, and "oauthRef.id" does not name one' }
  const path = await firstThere(search.folders.map(folder => join(folder, `${id}.json`)))
  if (path === undefined)
    return { why: `its tokens lie in an encrypted file that is not there: ${id}.json in ${search.folders.join(' or ')}` }
  const fields = await readSourceFields(path)
  if (fields.text('profileId') !== search.profileId || fields.text('provider') !== search.provider)
    return { why: `its encrypted tokens in ${path} belong to another profile` }
  const encrypted = fields.object('encrypted')
  if (!encrypted) return { tokens: fields, path }
  if (encrypted.text('algorithm') !== ALGORITHM) return { why: `its tokens in ${path} are encrypted in a way that is not known` }

  const seeds = await seedsOf(search.place)
  if (seeds.length === 0) return { why: `its tokens in ${path} are encrypted, and there is no key: ${keyAdvice()}` }
  for (const seed of seeds) {
    const text = decrypt(encrypted, seed, `${id}\0${search.profileId}\0${search.provider}`)
    if (text !== undefined) return { tokens: fieldsOf(path, text, 'what was encrypted'), path }
  }
  return { why: `its tokens in ${path} cannot be decrypted: the key is another one, or the file is damaged; ${keyAdvice()}` }
}

/** @returns `undefined` when the key does not fit, or the text was changed: GCM does not show which. */
function decrypt(encrypted: SourceFields, seed: string, associated: string): string | undefined {
  const [iv, tag, ciphertext] = ['iv', 'tag', 'ciphertext'].map(key => Buffer.from(encrypted.text(key) ?? '', 'base64url'))
  if (!iv?.length || tag?.length !== TAG_BYTES || !ciphertext?.length) return undefined
  const key = createHash('sha256').update(`openclaw:auth-profile-oauth:${seed}`).digest()
  try {
    const decipher = createDecipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(associated)).setAuthTag(tag)
    const text = Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8')
    return parseJsonObject(text) ? text : undefined
  } catch {
    return undefined
  }
}

/** Keys in the order in which OpenClaw tries them. The keychain of macOS is not asked: it would ask its user. */
async function seedsOf({ environment, home }: SourceLocation): Promise<string[]> {
  const seeds = [environment[KEY_VARIABLE] ?? '']
  for (const path of keyFiles(environment, home)) if (await isThere(path)) seeds.push(await readSourceUnmodified(path))
  const trimmed = [...new Set(seeds.map(seed => seed.trim()))].filter(seed => seed !== '')
  for (const seed of trimmed) registerSecret(seed)
  return trimmed
}

function keyFiles({ XDG_CONFIG_HOME, APPDATA }: SourceLocation['environment'], home: string): string[] {
  const folders = {
    win32: join(APPDATA || join(home, 'AppData', 'Roaming'), 'OpenClaw'),
    darwin: join(home, 'Library', 'Application Support', 'OpenClaw'),
  } as Partial<Record<NodeJS.Platform, string>>
  const folder = folders[process.platform] ?? join(XDG_CONFIG_HOME || join(home, '.config'), 'openclaw')
  return [join(folder, KEY_FILE), join(home, '.openclaw-auth-profile-secrets', KEY_FILE)]
}

function keyAdvice(): string {
  const keychain = process.platform === 'darwin' ? ' (on macOS it may lie in the keychain as "OpenClaw Auth Profile Secrets")' : ''
  return `put the key that OpenClaw has into ${KEY_VARIABLE}${keychain}, or sign in again with gatewatch profiles login`
}

async function firstThere(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await isThere(path)) return path
  return undefined
}
