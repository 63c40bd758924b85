import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { systemCode } from '../store/store-failure.ts'
import { isJsonObject, parseJsonObject } from '../tools/json-object.ts'
import type { CredentialReading, FoundProfile, Reading, SourceLocation, UnusableProfile } from './found-profile.ts'

/** The error for a source that is not where it was looked for. */
export function notFound(path: string, hint: string): GatewayError {
  return configError(`${path}: there is nothing to import here; ${hint}`)
}

/** The error for a file of a source that cannot be opened or copied. */
export function unreadableSource(path: string, cause: unknown): GatewayError {
  const code = systemCode(cause)
  const message = `${path}: cannot be read${code && ` (${code})`}; nothing was imported; give this user the right to read it and try again`
  return new GatewayError('GW_STORE_UNREADABLE', message, { next: 'fix_permissions', cause })
}

/**
 * The error for a file of a source that is not what it should be.
 *
 * @param what The fault, by key, type and what is allowed; never a value: it may be a token.
 */
export function damagedSource(path: string, what: string, cause?: unknown): GatewayError {
  const message = `${path}: ${what}. Nothing was imported; the file is unchanged`
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'restore_store', ...(cause !== undefined && { cause }) })
}

/** No file of tokens comes near; a larger one is something else. */
const MOST_BYTES = 16 * 1024 * 1024
const CHUNK_BYTES = 1024 * 1024
/** How often a file that changes while it is read is read again. */
const TRIES = 5

/** Says whether a file is there. @throws {GatewayError} `GW_STORE_UNREADABLE` when that is unknown. */
export async function isThere(path: string): Promise<boolean> {
  return (await signatureOf(path)) !== undefined
}

/**
 * Reads a file of another caller's: its bytes and times stay as they are, and nothing is locked.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`, `GW_STORE_DAMAGED` (no file, too large).
 */
export async function readSourceUnmodified(path: string): Promise<string> {
  for (let tries = 1; ; tries += 1) {
    const before = await signatureOf(path)
    const text = await withFile(path, async (file, size) => {
      if (size > MOST_BYTES) throw damagedSource(path, `holds ${size} bytes; at most ${MOST_BYTES} are allowed`)
      return file.readFile('utf8')
    })
    // The process that owns it may be writing it just now: half a file would read as a damaged one.
    if (tries === TRIES || before === (await signatureOf(path))) return text
  }
}

/** Copies a file of another caller's, however large, as `readUntouched` reads one. The copy has mode 0600. */
export async function copySourceUnmodified(path: string, target: string): Promise<void> {
  await withFile(path, async file => {
    const copy = await open(target, 'w', 0o600)
    try {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
      for (;;) {
        const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES)
        if (bytesRead === 0) return
        await copy.writeFile(chunk.subarray(0, bytesRead))
      }
    } finally {
      await copy.close()
    }
  })
}

/** What distinguishes one state of a file from another; `undefined` where there is none. */
export async function signatureOf(path: string): Promise<string | undefined> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true })
    return `${ino}-${size}-${mtimeNs}`
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(cause))) return undefined
    throw unreadableSource(path, cause)
  }
}

async function withFile<T>(path: string, work: (file: FileHandle, size: number) => Promise<T>): Promise<T> {
  let file: FileHandle | undefined
  try {
    file = await openUntouched(path)
    const status = await file.stat()
    if (!status.isFile()) throw damagedSource(path, 'is no file')
    return await work(file, status.size)
  } catch (cause) {
    throw systemCode(cause).startsWith('GW_') ? cause : unreadableSource(path, cause)
  } finally {
    await file?.close()
  }
}

/** Without leaving a time of access, where the system has that for the owner of a file; a pipe must not hold us. */
async function openUntouched(path: string): Promise<FileHandle> {
  const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)
  try {
    return await open(path, flags | (constants.O_NOATIME ?? 0))
  } catch (error) {
    if (systemCode(error) !== 'EPERM') throw error
    return open(path, flags)
  }
}

/** From here on a number is a moment in milliseconds; smaller ones are seconds. */
const MILLISECONDS = 100_000_000_000

/**
 * The members of a JSON object in another caller's file, read by type.
 *
 * What is absent or `null` is `undefined`; members no caller asks for are not looked at. A member of another type is damage:
 * the methods throw `GW_STORE_DAMAGED` with file, key, type and what is allowed.
 */
export class SourceFields {
  readonly file: string
  readonly #place: string
  readonly #values: Readonly<Record<string, unknown>>

  /** @param place Key of the object itself, for messages; empty for the whole file. */
  constructor(file: string, values: Readonly<Record<string, unknown>>, place = '') {
    this.file = file
    this.#place = place
    this.#values = values
  }

  /** The names of all members. */
  keys(): string[] {
    return Object.keys(this.#values)
  }

  text(key: string): string | undefined {
    const value = this.#given(key)
    if (value === undefined || typeof value === 'string') return value
    throw this.#wrong(key, 'a string')
  }

  /** A moment as epoch milliseconds, also where the file has seconds; `undefined` when it is not after 1970. */
  moment(key: string): number | undefined {
    const value = this.#given(key)
    if (value === undefined) return undefined
    if (typeof value !== 'number') throw this.#wrong(key, 'a number, in epoch milliseconds')
    if (value <= 0) return undefined
    return value >= MILLISECONDS ? value : value * 1000
  }

  texts(key: string): string[] {
    const value = this.#given(key)
    if (value === undefined) return []
    if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value
    throw this.#wrong(key, 'a list of strings')
  }

  /** @param shownKey The key as a message may show it, where the key itself is an e-mail address. */
  object(key: string, shownKey = key): SourceFields | undefined {
    const value = this.#given(key)
    if (value === undefined) return undefined
    if (isJsonObject(value)) return new SourceFields(this.file, value, this.#placeOf(shownKey))
    throw this.#wrong(key, 'an object', shownKey)
  }

  #given(key: string): unknown {
    return Object.hasOwn(this.#values, key) ? (this.#values[key] ?? undefined) : undefined
  }

  #placeOf(key: string): string {
    return this.#place === '' ? key : `${this.#place}.${key}`
  }

  #wrong(key: string, allowed: string, shownKey = key) {
    return damagedSource(this.file, `${this.#placeOf(shownKey)} is ${typeOf(this.#values[key])}; allowed is ${allowed}`)
  }
}

/** Reads a JSON file of another caller's. @throws {GatewayError} as `readUntouched`; `GW_STORE_DAMAGED` when it is no object. */
export async function readSourceFields(path: string): Promise<SourceFields> {
  return fieldsOf(path, await readSourceUnmodified(path))
}

/** The fields of a JSON text. @param place What the text is, where it is not the whole file. */
export function fieldsOf(path: string, text: string, place = ''): SourceFields {
  const values = parseJsonObject(text)
  if (values) return new SourceFields(path, values)
  const what = text.trim() === '' ? 'is empty' : 'is cut off, or not a JSON object'
  throw damagedSource(path, place === '' ? what : `${place} ${what}`)
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/**
 * The file of a source that has one: what `place.path` names, or `name` in the folder it names, else in `folder`.
 *
 * @param hint What to do when there is none.
 * @throws {GatewayError} `GW_CONFIG`.
 */
export async function fileOf(place: SourceLocation, folder: string, name: string, hint: string): Promise<string> {
  const given = place.path === undefined ? folder : resolve(place.path)
  const path = (await isFolder(given)) || place.path === undefined ? join(given, name) : given
  if (await isThere(path)) return path
  throw notFound(path, hint)
}

export async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    status => status.isDirectory(),
    () => false,
  )
}

/** Collects what a source holds while it is read. Of two profiles with one id the first counts. */
export class SourceParser {
  readonly #places: string[] = []
  readonly #found = new Map<string, FoundProfile>()
  readonly #unusable = new Map<string, UnusableProfile>()
  readonly #order: string[] = []
  readonly #notes: string[] = []

  addPlace(path: string): void {
    this.#places.push(path)
  }

  note(sentence: string): void {
    this.#notes.push(sentence)
  }

  has(id: string): boolean {
    return this.#found.has(id) || this.#unusable.has(id)
  }

  /** @param notes What its owner says about it. */
  add(id: string, provider: string, reading: CredentialReading, notes: readonly string[] = []): void {
    if (this.has(id)) return
    if (reading.credential === undefined) this.#unusable.set(id, { id, provider, why: reading.why })
    else {
      const all = reading.note === undefined ? notes : [reading.note, ...notes]
      this.#found.set(id, { id, provider, credential: reading.credential, notes: all })
    }
  }

  setOrder(ids: readonly string[]): void {
    for (const id of ids) if (!this.#order.includes(id)) this.#order.push(id)
  }

  done(): Reading {
    return {
      places: this.#places,
      found: [...this.#found.values()],
      unusable: [...this.#unusable.values()],
      order: this.#order.filter(id => this.has(id)),
      notes: this.#notes,
    }
  }
}
