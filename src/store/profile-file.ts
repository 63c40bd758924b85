import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { StoredProfile } from '../domain/credential.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { isJsonObject, parseJsonObject } from '../tools/json-object.ts'
import { damaged, newer, systemCode, unreadable, unwritable } from './store-failure.ts'
import { freeze, wrongPlace } from './stored-profile.ts'

/** Steps of a change that a test may stop at: the new content is safe beside the file; it has taken the file's place. */
export type ChangeStep = 'next_written' | 'renamed'

/** What a profile file holds. */
export interface ProfileDocument {
  /** Counts changes; `n + 1` follows `n`. */
  readonly revision: number
  readonly profiles: ReadonlyMap<string, StoredProfile>
  /** Keys beside ours, kept as they came. */
  readonly others: Readonly<Record<string, unknown>>
  /** Tells this state of the file from every other without reading it. */
  readonly signature: string
}

const FORMAT = 'gatewatch-profiles'
const VERSION = 1
const ABSENT = 'absent'
const EMPTY: ProfileDocument = { revision: 0, profiles: new Map(), others: {}, signature: ABSENT }
/** A folder cannot be fsynced on every platform and file system; these say so. */
const CANNOT_SYNC_FOLDER = new Set(['EINVAL', 'EPERM', 'EISDIR', 'EACCES', 'ENOTSUP', 'EBADF'])

/**
 * One JSON file of profiles on disk, `{format, version, revision, profiles}`, and the file beside it in which the next
 * state is prepared.
 *
 * Whoever calls `settle` or `replace` must hold the exclusion of the folder (`ProcessLock`).
 */
export class ProfileFile {
  readonly path: string
  readonly nextPath: string

  constructor(path: string) {
    this.path = path
    this.nextPath = `${path}.next`
  }

  /** A word that changes whenever the file does. @throws {GatewayError} `GW_STORE_UNREADABLE` */
  signature(): Promise<string> {
    return signatureOf(this.path)
  }

  /** Says whether a change is under way, or was cut short by the death of its process. */
  async hasNext(): Promise<boolean> {
    return (await signatureOf(this.nextPath)) !== ABSENT
  }

  /**
   * Reads the file; a missing one is empty. Permissions wider than 0600 are tightened.
   *
   * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED`, `GW_STORE_NEWER`; each names the file.
   */
  async read(): Promise<ProfileDocument> {
    return (await readDocument(this.path)) ?? EMPTY
  }

  /**
   * Finishes, or clears away, what a process left behind that died inside a change; then reads the file.
   *
   * Complete content that follows the present one takes its place: it may hold the only copy of a rotated token.
   * Incomplete content is removed. Complete content that does not follow is put aside under another name.
   *
   * @throws {GatewayError} as `read`; a file that is damaged or newer stays as it is, and so does the one beside it.
   */
  async settle(): Promise<ProfileDocument> {
    const current = await this.read()
    if (!(await this.hasNext())) return current
    const next = await this.#readNext()
    const follows = next?.revision === current.revision + 1
    try {
      if (!next) await rm(this.nextPath, { force: true })
      else await rename(this.nextPath, follows ? this.path : `${this.nextPath}-revision-${next.revision}`)
    } catch (cause) {
      throw unwritable(this.nextPath, cause)
    }
    await syncFolder(dirname(this.path))
    return next && follows ? next : current
  }

  /**
   * Replaces the file, atomically and durably. Call after `settle`: nothing may be left beside the file.
   *
   * @throws {GatewayError} `GW_STORE_UNWRITABLE`; the file still holds what it held.
   */
  async replace(next: Omit<ProfileDocument, 'signature'>, onStep: (step: ChangeStep) => void = () => {}): Promise<ProfileDocument> {
    const { revision, profiles, others } = next
    const content = { ...others, format: FORMAT, version: VERSION, revision, profiles: Object.fromEntries(profiles) }
    let signature: string
    try {
      signature = await this.#writeNext(`${JSON.stringify(content, undefined, 2)}\n`)
      onStep('next_written')
      await rename(this.nextPath, this.path)
    } catch (cause) {
      // Left behind, it would take the file's place later, after the caller was told that nothing was changed.
      await rm(this.nextPath, { force: true }).catch(() => {})
      throw unwritable(this.path, cause)
    }
    onStep('renamed')
    await syncFolder(dirname(this.path))
    return { ...next, signature }
  }

  async #writeNext(text: string): Promise<string> {
    // `wx` neither follows a link somebody planted nor reuses a file with wider permissions.
    const handle = await open(this.nextPath, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
      return await signatureOfHandle(handle)
    } finally {
      await handle.close()
    }
  }

  async #readNext(): Promise<ProfileDocument | undefined> {
    try {
      return await readDocument(this.nextPath)
    } catch (error) {
      if (isGatewayError(error, 'GW_STORE_DAMAGED')) return undefined
      throw error
    }
  }
}

async function signatureOf(path: string): Promise<string> {
  try {
    const { mtimeNs, ino, size } = await stat(path, { bigint: true })
    return `${mtimeNs}-${ino}-${size}`
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return ABSENT
    throw unreadable(path, cause)
  }
}

async function signatureOfHandle(handle: FileHandle): Promise<string> {
  const { mtimeNs, ino, size } = await handle.stat({ bigint: true })
  return `${mtimeNs}-${ino}-${size}`
}

async function readDocument(path: string): Promise<ProfileDocument | undefined> {
  const file = await readText(path)
  if (!file) return undefined
  return { ...parse(path, file.text), signature: file.signature }
}

async function readText(path: string): Promise<{ text: string; signature: string } | undefined> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path, constants.O_RDONLY)
    // Taken before the content: an edit in place while we read shows as another signature the next time.
    const signature = await signatureOfHandle(handle)
    await tighten(handle)
    return { text: await handle.readFile('utf8'), signature }
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return undefined
    throw unreadable(path, cause)
  } finally {
    await handle?.close()
  }
}

async function tighten(handle: FileHandle): Promise<void> {
  if (process.platform === 'win32') return
  const { mode } = await handle.stat()
  // Refused for a file of another owner or on a read-only file system; not reading it would not make it any safer.
  if (mode & 0o077) await handle.chmod(0o600).catch(() => {})
}

function parse(path: string, text: string): Omit<ProfileDocument, 'signature'> {
  const content = parseJsonObject(text)
  if (!content) throw damaged(path, text.trim() === '' ? 'it is empty' : 'it is cut off, or not a JSON object')
  const { format, version, revision, profiles, ...others } = content
  if (format !== FORMAT) throw damaged(path, `"format" is not "${FORMAT}", so this is not a profile file of Gatewatch`)
  if (!isCount(version) || version < 1) throw damaged(path, '"version" is not a whole number from 1')
  if (version > VERSION) throw newer(path, version, VERSION)
  if (!isCount(revision)) throw damaged(path, '"revision" is not a whole number')
  if (!isJsonObject(profiles)) throw damaged(path, '"profiles" is not an object')
  return { revision, profiles: checkProfiles(path, profiles), others }
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

async function syncFolder(folder: string): Promise<void> {
  let handle: FileHandle | undefined
  try {
    handle = await open(folder, constants.O_RDONLY)
    await handle.sync()
  } catch (cause) {
    if (!CANNOT_SYNC_FOLDER.has(systemCode(cause)))
      throw new GatewayError(
        'GW_STORE_UNWRITABLE',
        `the profiles in ${folder} were replaced, but may not survive a power failure (${systemCode(cause)}); check the disk`,
        { next: 'try_again_later', cause },
      )
  } finally {
    await handle?.close()
  }
}
