import type { StoredProfile } from '../../src/domain/credential.ts'
import type { Lease, LeaseOptions, ProfileStore } from '../../src/store/profile-store.ts'

type Method = 'read' | 'reload' | 'change' | 'lease'
type Update = Parameters<ProfileStore['change']>[1]

/** A real store that fails on demand, as a store on a bad disk would. */
export class BreakableStore implements ProfileStore {
  readonly #inner: ProfileStore
  readonly #broken = new Map<Method, unknown>()
  /** Called before each change, with what is about to be decided. */
  beforeChange: () => unknown = () => {}

  constructor(inner: ProfileStore) {
    this.#inner = inner
  }

  /** From now on these methods reject with `error`. */
  break(error: unknown, ...methods: Method[]): void {
    for (const method of methods) this.#broken.set(method, error)
  }

  mend(): void {
    this.#broken.clear()
  }

  async read(profileId: string): Promise<StoredProfile | undefined> {
    this.#mustWork('read')
    return this.#inner.read(profileId)
  }

  async reload(profileId: string): Promise<StoredProfile | undefined> {
    this.#mustWork('reload')
    return this.#inner.reload(profileId)
  }

  list(): Promise<readonly StoredProfile[]> {
    return this.#inner.list()
  }

  async change(profileId: string, update: Update): Promise<StoredProfile | undefined> {
    await this.beforeChange()
    this.#mustWork('change')
    return this.#inner.change(profileId, update)
  }

  async lease(profileId: string, options: LeaseOptions): Promise<Lease> {
    this.#mustWork('lease')
    return this.#inner.lease(profileId, options)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  #mustWork(method: Method): void {
    if (this.#broken.has(method)) throw this.#broken.get(method)
  }
}
