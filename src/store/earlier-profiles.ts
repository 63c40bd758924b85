import { createHash } from 'node:crypto'
import { lstatSync } from 'node:fs'
import { chmod, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { StoredProfile } from '../domain/credential.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { isJsonObject, parseJsonObject } from '../tools/json-object.ts'
import { flushFolder } from './database-file.ts'
import { readOwnFile } from './own-files.ts'
import { freeze, wrongPlace } from './profile-store.ts'
import { damaged, newer, systemCode, unreadable, unwritable } from './store-failure.ts'

/** What a `profiles.json` holds. */
interface EarlierDocument {
  /** Counts changes; `n + 1` follows `n`. */
  readonly revision: number
  readonly profiles: ReadonlyMap<string, StoredProfile>
  /** Of the file's text; `undefined` when there is no file. */
  readonly digest: string | undefined
}

const FORMAT = 'gatewatch-profiles'
const VERSION = 1
/** Longest file that is read, in bytes: some 50,000 profiles. */
const MOST_BYTES = 256 * 1024 * 1024
const NOTHING: EarlierDocument = { revision: 0, profiles: new Map(), digest: undefined }

/**
 * The `profiles.json` in which an earlier Gatewatch kept all profiles, `{format, version, revision, profiles}`, and the file
 * beside it in which that Gatewatch prepared the next state. Only read here, to take the profiles over.
 *
 * The caller of `settle` and `retire` holds the exclusion of the folder (`ProcessLock` on `locks.sqlite`), which the earlier
 * Gatewatch holds during each change.
 */
export class EarlierProfiles {
  readonly path: string
  readonly nextPath: string

  constructor(path: string) {
    this.path = path
    this.nextPath = `${path}.next`
  }

  /** Says whether there is something to take over. Never throws. */
  isThere(): boolean {
    return exists(this.path) || exists(this.nextPath)
  }

  /**
   * Finishes, or clears away, what a process left behind that died inside a change; then reads the file.
   *
   * Complete content that follows the present one takes its place: it may hold the only copy of a rotated token.
   * Incomplete content is removed. Complete content that does not follow is put aside under another name.
   *
   * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, each naming the file: a file that is damaged or
   *   newer stays unchanged, and so does the one beside it. `GW_STORE_UNWRITABLE`.
   */
  async settle(): Promise<EarlierDocument> {
    const current = (await readDocument(this.path)) ?? NOTHING
    if (!exists(this.nextPath)) return current
    const next = await this.#readNext()
    const follows = next?.revision === current.revision + 1
    try {
      if (!next) await rm(this.nextPath, { force: true })
      else {
        await chmod(this.nextPath, 0o600)
        await rename(this.nextPath, follows ? this.path : `${this.nextPath}-revision-${next.revision}`)
      }
      await flushFolder(dirname(this.path))
    } catch (cause) {
      throw unwritable(this.nextPath, cause)
    }
    return next && follows ? next : current
  }

  /** Renames the file: it is a backup from now on. A backup that was there is replaced. @throws {GatewayError} `GW_STORE_UNWRITABLE` */
  async retire(): Promise<void> {
    try {
      // The file holds tokens, and the folder may be readable by others.
      await chmod(this.path, 0o600)
      await rename(this.path, `${this.path}.imported`)
      await flushFolder(dirname(this.path))
    } catch (cause) {
      throw unwritable(this.path, cause)
    }
  }

  async #readNext(): Promise<EarlierDocument | undefined> {
    try {
      return await readDocument(this.nextPath)
    } catch (error) {
      if (isGatewayError(error, 'GW_STORE_DAMAGED')) return undefined
      throw error
    }
  }
}

function exists(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    return false
  }
}

async function readDocument(path: string): Promise<EarlierDocument | undefined> {
  let text: string
  try {
    text = await readOwnFile(path, MOST_BYTES)
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return undefined
    throw cause instanceof GatewayError ? cause : unreadable(path, cause)
  }
  return { ...parse(path, text), digest: createHash('sha256').update(text).digest('hex') }
}

function parse(path: string, text: string): Omit<EarlierDocument, 'digest'> {
  const content = parseJsonObject(text)
  if (!content) throw damaged(path, text.trim() === '' ? 'it is empty' : 'it is cut off, or not a JSON object')
  const { format, version, revision, profiles } = content
  if (format !== FORMAT) throw damaged(path, `"format" is not "${FORMAT}", so this is not a profile file of Gatewatch`)
  if (!isCount(version) || version < 1) throw damaged(path, '"version" is not a whole number from 1')
  if (version > VERSION) throw newer(path, version, VERSION)
  if (!isCount(revision)) throw damaged(path, '"revision" is not a whole number')
  if (!isJsonObject(profiles)) throw damaged(path, '"profiles" is not an object')
  return { revision, profiles: checkProfiles(path, profiles) }
}

function checkProfiles(path: string, profiles: Record<string, unknown>): Map<string, StoredProfile> {
  const checked = new Map<string, StoredProfile>()
  for (const [id, profile] of Object.entries(profiles)) {
    const place = wrongPlace(id, profile)
    // By its place, not its id: ids carry e-mail addresses.
    if (place) throw damaged(path, `in profile ${checked.size + 1}, "${place}" is missing or of the wrong type`)
    checked.set(id, freeze(profile as StoredProfile))
  }
  return checked
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
