import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { systemCode } from '../store/store-failure.ts'
import { damagedSource, unreadableSource } from './source-failure.ts'

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
