import { join } from 'node:path'
import type { StoredProfile } from '../domain/credential.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { LeaseKeeper } from './lease-keeper.ts'
import { LeaseTable } from './lease-table.ts'
import { PROCESS_LOCK_DEFAULTS, ProcessLock } from './process-lock.ts'
import { type ChangeStep, type ProfileDocument, ProfileFile } from './profile-file.ts'
import type { Lease, LeaseOptions, ProfileStore } from './profile-store.ts'
import { closed } from './store-failure.ts'
import { acceptProfile } from './stored-profile.ts'

/** How a file store waits and tells. */
export interface FileStoreOptions {
  /** How long the holder of a lease may be silent before another process may take it, in ms. At least 100. @default 30_000 */
  leaseTtlMs?: number
  /** Longest wait of a change for other processes that are changing profiles, in ms. Not negative. @default 30_000 */
  changeWaitMs?: number
  /** Measures silence and freshness; the wall clock is never asked. @default the system's */
  clock?: Pick<Clock, 'monotonic'>
  /** Called synchronously inside a change at each step, for tests that stop there. @default does nothing */
  onStep?: (step: ChangeStep) => void
}

export const FILE_STORE_DEFAULTS = {
  leaseTtlMs: 30_000,
  changeWaitMs: PROCESS_LOCK_DEFAULTS.waitMs,
  clock: systemClock,
  onStep: () => {},
} as const satisfies Required<FileStoreOptions>

/** How long `read` answers from memory before it looks whether the file changed, in ms. */
const LOOK_EVERY_MS = 250

/**
 * Keeps profiles in one folder: `profiles.json`, with `locks.sqlite` and `leases.sqlite` for the exclusion and the
 * leases between processes. All are created with mode 0600, the folder with 0700. The files hold secrets in the clear.
 *
 * Nothing is opened or created before the first use, and a folder that is only read is never written to.
 *
 * @throws {RangeError} if a time in `options` is out of bounds.
 */
export function fileStore(folder: string, options: FileStoreOptions = {}): ProfileStore {
  return new FileStore(folder, { ...FILE_STORE_DEFAULTS, ...options })
}

class FileStore implements ProfileStore {
  readonly #file: ProfileFile
  readonly #lock: ProcessLock
  readonly #leases: LeaseKeeper
  readonly #monotonic: () => number
  readonly #onStep: (step: ChangeStep) => void
  /** The newest reading, perhaps still under way. A reading that failed is kept too, so that it is not repeated at once. */
  #latest: { lookedAt: number; reading: Promise<ProfileDocument> } | undefined
  #closed = false

  constructor(folder: string, { leaseTtlMs, changeWaitMs, clock, onStep }: Required<FileStoreOptions>) {
    if (!(leaseTtlMs >= 100)) throw new RangeError(`leaseTtlMs is ${leaseTtlMs}, it must be at least 100`)
    if (!(changeWaitMs >= 0)) throw new RangeError(`changeWaitMs is ${changeWaitMs}, it must not be negative`)
    this.#monotonic = () => clock.monotonic()
    this.#onStep = onStep
    this.#file = new ProfileFile(join(folder, 'profiles.json'))
    this.#lock = new ProcessLock(join(folder, 'locks.sqlite'), { waitMs: changeWaitMs })
    const leaseOptions = { ttlMs: leaseTtlMs, monotonic: this.#monotonic }
    this.#leases = new LeaseKeeper(new LeaseTable(join(folder, 'leases.sqlite'), leaseOptions), leaseOptions)
  }

  async read(profileId: string): Promise<StoredProfile | undefined> {
    return (await this.#current()).profiles.get(profileId)
  }

  async reload(profileId: string): Promise<StoredProfile | undefined> {
    this.#mustBeOpen()
    return (await this.#keep(this.#load())).profiles.get(profileId)
  }

  async list(): Promise<readonly StoredProfile[]> {
    return [...(await this.#current()).profiles.values()]
  }

  change(profileId: string, update: (current: StoredProfile | undefined) => StoredProfile | undefined): Promise<StoredProfile | undefined> {
    return this.#lock.run(async () => {
      const current = await this.#file.settle()
      const before = current.profiles.get(profileId)
      const wanted = update(before)
      if (wanted === before) {
        this.#keep(Promise.resolve(current))
        return before
      }
      const after = wanted && acceptProfile(profileId, wanted)
      const profiles = new Map(current.profiles)
      if (after) profiles.set(profileId, after)
      else profiles.delete(profileId)
      const { revision, others } = current
      const stored = await this.#file.replace({ revision: revision + 1, profiles, others }, this.#onStep)
      this.#keep(Promise.resolve(stored)) // still inside the exclusion: nobody else can have changed it since
      return after
    })
  }

  async lease(profileId: string, options: LeaseOptions): Promise<Lease> {
    this.#mustBeOpen()
    return this.#leases.lease(profileId, options)
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([this.#leases.close(), this.#lock.close()])
  }

  #current(): Promise<ProfileDocument> {
    this.#mustBeOpen()
    const latest = this.#latest
    if (latest && this.#monotonic() - latest.lookedAt < LOOK_EVERY_MS) return latest.reading
    return this.#keep(latest ? this.#loadIfChanged(latest.reading) : this.#load())
  }

  async #loadIfChanged(earlier: Promise<ProfileDocument>): Promise<ProfileDocument> {
    const known = await earlier.catch(() => undefined)
    return known && known.signature === (await this.#file.signature()) ? known : this.#load()
  }

  /**
   * Reads the file, and first finishes what a dead process left half done: without that, whoever has the lease next
   * would send a refresh token that was already rotated away.
   */
  async #load(): Promise<ProfileDocument> {
    return (await this.#file.hasNext()) ? this.#lock.run(() => this.#file.settle()) : this.#file.read()
  }

  #keep(reading: Promise<ProfileDocument>): Promise<ProfileDocument> {
    this.#latest = { lookedAt: this.#monotonic(), reading }
    reading.catch(() => {}) // whoever reads sees it; nobody has to
    return reading
  }

  #mustBeOpen(): void {
    if (this.#closed) throw closed()
  }
}
