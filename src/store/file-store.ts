import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { StoredProfile } from '../domain/credential.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { OpenItems } from '../tools/open-items.ts'
import { EarlierProfiles } from './earlier-profiles.ts'
import { LeaseKeeper, LeaseTable } from './lease-keeper.ts'
import { stateFolderAt } from './own-files.ts'
import { PROCESS_LOCK_DEFAULTS, ProcessLock } from './process-lock.ts'
import { type Changed, type ChangeStep, ProfileDatabase, type ProfileRow, type StoreRevision } from './profile-database.ts'
import type { DamagedProfile, Lease, LeaseOptions, ProfileStore } from './profile-store.ts'
import { REST_DATABASE, RestTable } from './rest-table.ts'
import { closed, isSqliteBusy, occupied } from './store-failure.ts'

/** How a file store waits and reports. */
export interface FileStoreOptions {
  /** How long the holder of a lease may be silent before another process may take it, in ms. At least 100. @default 30_000 */
  leaseTtlMs?: number
  /** Longest wait of a change for other processes that are changing profiles, in ms. Not negative. @default 30_000 */
  changeWaitMs?: number
  /**
   * Measures silence and freshness; the wall clock is never asked. @default the system's
   *
   * @internal
   */
  clock?: Pick<Clock, 'monotonic'>
  /**
   * Called synchronously inside a change at each step, for tests that stop there. @default does nothing
   *
   * @internal
   */
  onStep?: (step: ChangeStep) => void
}

const FILE_STORE_DEFAULTS = {
  leaseTtlMs: 30_000,
  changeWaitMs: PROCESS_LOCK_DEFAULTS.waitMs,
  clock: systemClock,
  onStep: () => {},
} as const satisfies Required<FileStoreOptions>

/** How long `read` and `list` answer from memory before they look whether the file changed, in ms. */
const LOOK_EVERY_MS = 250
/** Pauses between two tries while another process is at the file. */
const SHORTEST_PAUSE_MS = 2
const LONGEST_PAUSE_MS = 25

/**
 * Keeps profiles in one folder: `profiles.sqlite`, one row a profile, with `leases.sqlite` for the leases between processes
 * and `rests.sqlite` for what rests.
 * All files are created with mode 0600, the folder with 0700; a folder or file that another user can change is refused. The
 * files hold secrets in the clear. The processes of one folder run on one machine: SQLite's shared memory does not reach further.
 *
 * A `profiles.json` of an earlier Gatewatch is taken over once and kept as `profiles.json.imported`.
 *
 * Nothing is opened or created before the first use, and a folder without profiles that is only read stays empty. In a folder that
 * every user can write to, the files are in `gatewatch-<uid>` (see `stateFolderAt`).
 *
 * @throws {RangeError} if a time in `options` is out of bounds.
 * @example
 * import { fileStore } from 'gatewatch/store'
 *
 * const store = fileStore('./gatewatch-state')
 * for (const { id } of await store.list()) console.log(id)
 * await store.close()
 */
export function fileStore(folder: string, options: FileStoreOptions = {}): ProfileStore {
  return new FileStore(folder, { ...FILE_STORE_DEFAULTS, ...options })
}

class FileStore implements ProfileStore {
  readonly rests: RestTable
  readonly #database: ProfileDatabase
  readonly #earlier: EarlierProfiles
  readonly #lock: ProcessLock
  readonly #leases: LeaseKeeper
  readonly #monotonic: () => number
  readonly #changeWaitMs: number
  readonly #known = new KnownProfiles()
  readonly #underWay = new OpenItems<Promise<unknown>>()
  /** The last look at the file, perhaps still under way. One that failed is kept too, so that it is not repeated at once. */
  #look: { at: number; done: Promise<void>; isDone: boolean } | undefined
  #closed = false

  constructor(named: string, { leaseTtlMs, changeWaitMs, clock, onStep }: Required<FileStoreOptions>) {
    if (!(leaseTtlMs >= 100)) throw new RangeError(`leaseTtlMs is ${leaseTtlMs}, it must be at least 100`)
    if (!(changeWaitMs >= 0)) throw new RangeError(`changeWaitMs is ${changeWaitMs}, it must not be negative`)
    const folder = stateFolderAt(named)
    this.#monotonic = () => clock.monotonic()
    this.#changeWaitMs = changeWaitMs
    this.#database = new ProfileDatabase(folder, onStep)
    this.rests = new RestTable(join(folder, REST_DATABASE))
    this.#earlier = new EarlierProfiles(join(folder, 'profiles.json'))
    this.#lock = new ProcessLock(join(folder, 'locks.sqlite'), { waitMs: changeWaitMs })
    const leaseOptions = { ttlMs: leaseTtlMs, monotonic: this.#monotonic }
    this.#leases = new LeaseKeeper(new LeaseTable(join(folder, 'leases.sqlite'), leaseOptions), leaseOptions)
  }

  read(profileId: string): Promise<StoredProfile | undefined> {
    // What every provider call asks: what is known and was looked at a moment ago needs no operation.
    const known = this.#isLookedAt ? this.#known.find(profileId) : undefined
    if (known && !this.#closed) return profileOf(known)
    return this.#while(async () => {
      await this.#looked()
      const row = this.#known.find(profileId) ?? (this.#known.areAll ? undefined : await this.#try(() => this.#database.find(profileId)))
      if (row) this.#known.note(row)
      return row?.profile()
    })
  }

  reload(profileId: string): Promise<StoredProfile | undefined> {
    return this.#while(async () => {
      await this.#takeEarlierOver()
      const row = await this.#try(() => this.#database.findSettled(profileId))
      if (row) this.#known.note(row)
      else this.#known.forget(profileId)
      return row?.profile()
    })
  }

  list(): Promise<readonly StoredProfile[]> {
    return this.#while(async () => {
      await this.#looked()
      if (!this.#known.areAll) this.#known.noteAll(await this.#try(() => this.#database.changedAfter(-1)))
      return this.#known.list()
    })
  }

  async damaged(): Promise<readonly DamagedProfile[]> {
    await this.list()
    return this.#known.damaged()
  }

  change(profileId: string, update: (current: StoredProfile | undefined) => StoredProfile | undefined): Promise<StoredProfile | undefined> {
    return this.#while(async () => {
      await this.#takeEarlierOver()
      const changed = await this.#try(() => this.#database.change(profileId, update))
      this.#noteChange(profileId, changed)
      // Even where nothing was written: what is found may be a change that could not be flushed.
      await this.#database.flush()
      return changed.profile
    })
  }

  async lease(profileId: string, options: LeaseOptions): Promise<Lease> {
    if (this.#closed) throw closed()
    return this.#leases.lease(profileId, options)
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#underWay.all())
    await Promise.all([this.#leases.close(), this.#lock.close()])
    this.rests.close()
    this.#database.close()
  }

  /** Runs one operation of an open store; `close` waits for it. */
  async #while<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) throw closed()
    const running = operation()
    const open = this.#underWay.add(running)
    try {
      return await running
    } finally {
      this.#underWay.remove(open)
    }
  }

  /** What is known was brought up to the file a moment ago, and that went well. */
  get #isLookedAt(): boolean {
    return this.#look?.isDone === true && this.#monotonic() - this.#look.at < LOOK_EVERY_MS
  }

  /** Brings what is known up to the file, unless that was done a moment ago. */
  #looked(): Promise<void> {
    const at = this.#monotonic()
    if (this.#look && at - this.#look.at < LOOK_EVERY_MS) return this.#look.done
    const look = { at, done: this.#lookNow(), isDone: false }
    this.#look = look
    look.done.then(
      () => {
        look.isDone = true
      },
      () => {},
    )
    return look.done
  }

  async #lookNow(): Promise<void> {
    await this.#takeEarlierOver()
    await this.#try(() => {
      const revision = this.#database.revision()
      if (!this.#known.isBehind(revision)) return
      const changed = this.#database.changedAfter(this.#known.revision)
      const ids = this.#known.hasLost(revision) ? this.#database.ids() : undefined
      this.#known.advance(revision, changed, ids)
    })
  }

  #noteChange(profileId: string, { profile, revision }: Changed): void {
    if (revision === undefined) return
    if (profile) this.#known.note({ id: profileId, revision, profile: () => profile })
    else this.#known.forget(profileId)
  }

  /** Takes the profiles of an earlier Gatewatch over, where its file is there. */
  async #takeEarlierOver(): Promise<void> {
    if (!this.#earlier.isThere()) return
    // Alone among all processes, those of the earlier Gatewatch included.
    await this.#lock.run(async () => {
      const { profiles, digest } = await this.#earlier.settle()
      if (digest === undefined) return
      await this.#try(() => this.#database.takeOver(profiles.values(), digest))
      await this.#database.flush()
      await this.#earlier.retire()
    })
  }

  /** Runs a transaction; one that meets another process waits for it, and says so when that takes too long. */
  async #try<T>(transaction: () => T): Promise<T> {
    const deadline = performance.now() + this.#changeWaitMs
    for (let pauseMs = SHORTEST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        return transaction()
      } catch (cause) {
        if (!isSqliteBusy(cause)) throw this.#database.failure(cause)
      }
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw occupied(this.#database.path, this.#changeWaitMs)
      await wait(Math.min(leftMs, pauseMs * (0.5 + Math.random())))
    }
  }
}

/** @throws as `ProfileRow.profile`, by rejecting. */
async function profileOf(row: ProfileRow): Promise<StoredProfile> {
  return row.profile()
}

/** What a store has read of its file: the profiles that were asked for, or all of them once they were listed. */
class KnownProfiles {
  readonly #rows = new Map<string, ProfileRow>()
  #seen: StoreRevision = { connection: 0, revision: -1, removals: 0 }
  #areAll = false
  #list: { readonly profiles: readonly StoredProfile[]; readonly damaged: readonly DamagedProfile[] } | undefined

  /** Every stored profile is known: one that is not here is not stored. */
  get areAll(): boolean {
    return this.#areAll
  }

  get revision(): number {
    return this.#seen.revision
  }

  find(id: string): ProfileRow | undefined {
    return this.#rows.get(id)
  }

  /** Every profile that can be read, in the order in which they came; the same array while nothing changed. */
  list(): readonly StoredProfile[] {
    return this.#listed().profiles
  }

  /** The others. */
  damaged(): readonly DamagedProfile[] {
    return this.#listed().damaged
  }

  #listed() {
    if (this.#list) return this.#list
    const profiles: StoredProfile[] = []
    const damaged: DamagedProfile[] = []
    for (const row of this.#rows.values()) {
      try {
        profiles.push(row.profile())
      } catch (error) {
        if (!isGatewayError(error, 'GW_STORE_DAMAGED')) throw error
        damaged.push({ id: row.id, error })
      }
    }
    this.#list = { profiles, damaged }
    return this.#list
  }

  isBehind(now: StoreRevision | undefined): boolean {
    return now?.connection !== this.#seen.connection || now.revision !== this.#seen.revision
  }

  /** Says whether profiles were removed since the last look. */
  hasLost(now: StoreRevision | undefined): boolean {
    return now?.removals !== this.#seen.removals
  }

  /** @param ids Of all profiles there are, when some were removed. */
  advance(now: StoreRevision | undefined, changed: readonly ProfileRow[], ids: ReadonlySet<string> | undefined): void {
    // Another file, or one that was put back: nothing that was known holds.
    if (!now || now.connection !== this.#seen.connection || now.revision < this.#seen.revision) {
      this.#clear()
      this.#seen = now ?? { connection: 0, revision: -1, removals: 0 }
      return
    }
    this.#seen = now
    for (const row of changed) if (this.#areAll || this.#rows.has(row.id)) this.note(row)
    if (ids) for (const id of [...this.#rows.keys()]) if (!ids.has(id)) this.forget(id)
  }

  /** A row of the same revision is the same profile: the object that is known stays. */
  note(row: ProfileRow): void {
    if (this.#rows.get(row.id)?.revision === row.revision) return
    this.#rows.set(row.id, row)
    this.#list = undefined
  }

  noteAll(rows: readonly ProfileRow[]): void {
    const before = new Map(this.#rows)
    this.#clear()
    for (const row of rows) {
      const known = before.get(row.id)
      this.#rows.set(row.id, known?.revision === row.revision ? known : row)
    }
    this.#areAll = true
  }

  forget(id: string): void {
    if (this.#rows.delete(id)) this.#list = undefined
  }

  #clear(): void {
    this.#rows.clear()
    this.#areAll = false
    this.#list = undefined
  }
}
