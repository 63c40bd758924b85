import type { StoredProfile } from '../domain/credential.ts'
import { durationOf } from '../domain/duration-text.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import type { Lease, LeaseOptions, ProfileStore } from './profile-store.ts'
import { acceptProfile, memoryRests } from './profile-store.ts'
import { closed } from './store-failure.ts'

/**
 * Keeps profiles in memory, for tests and for gateways whose credentials come from elsewhere. Leases hold within this
 * store only.
 *
 * @param initial Profiles to begin with; a later one replaces an earlier one of the same id.
 * @throws {TypeError} if one of them could not be stored.
 * @example
 * import { memoryStore } from 'gatewatch/store'
 *
 * const store = memoryStore([{ id: 'openai:a', provider: 'openai', credential: { type: 'api_key', key: process.env.OPENAI_API_KEY ?? '' } }])
 */
export function memoryStore(initial: Iterable<StoredProfile> = []): ProfileStore {
  return new MemoryStore(initial)
}

class MemoryStore implements ProfileStore {
  readonly rests = memoryRests()
  readonly #profiles = new Map<string, StoredProfile>()
  /** Who holds the lease of a profile, and who waits for it, in the order of coming. */
  readonly #queues = new Map<string, Waiter[]>()
  readonly #closing = new AbortController()

  constructor(initial: Iterable<StoredProfile>) {
    for (const profile of initial) this.#profiles.set(profile.id, acceptProfile(profile.id, profile))
  }

  async read(profileId: string): Promise<StoredProfile | undefined> {
    this.#mustBeOpen()
    return this.#profiles.get(profileId)
  }

  reload(profileId: string): Promise<StoredProfile | undefined> {
    return this.read(profileId)
  }

  async list(): Promise<readonly StoredProfile[]> {
    this.#mustBeOpen()
    return [...this.#profiles.values()]
  }

  async change(
    profileId: string,
    update: (current: StoredProfile | undefined) => StoredProfile | undefined,
  ): Promise<StoredProfile | undefined> {
    this.#mustBeOpen()
    const before = this.#profiles.get(profileId)
    const wanted = update(before)
    if (wanted === before) return before
    const after = wanted && acceptProfile(profileId, wanted)
    if (after) this.#profiles.set(profileId, after)
    else this.#profiles.delete(profileId)
    return after
  }

  async lease(profileId: string, { waitMs, signal }: LeaseOptions): Promise<Lease> {
    this.#mustBeOpen()
    if (signal?.aborted) throw aborted(signal)
    const start = performance.now()
    const queue = this.#queues.get(profileId) ?? []
    this.#queues.set(profileId, queue)
    const waiter: Waiter = Promise.withResolvers<void>()
    queue.push(waiter)
    if (queue[0] === waiter) waiter.resolve()
    const release = async () => this.#leave(profileId, queue, waiter)

    const timer = setTimeout(() => waiter.reject(timedOut(waitMs)), waitMs)
    const onAbort = () => waiter.reject(signal && aborted(signal))
    const onClose = () => waiter.reject(closed())
    signal?.addEventListener('abort', onAbort)
    this.#closing.signal.addEventListener('abort', onClose)
    try {
      await waiter.promise
    } catch (error) {
      await release()
      throw error
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      this.#closing.signal.removeEventListener('abort', onClose)
    }
    return {
      waitedMs: performance.now() - start,
      mayGoOn: () => false,
      lost: this.#closing.signal,
      confirm: () => queue[0] === waiter && !this.#closing.signal.aborted,
      release,
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(closed())
    this.#queues.clear()
  }

  /** Lets the next one in when it was the holder who left. */
  #leave(profileId: string, queue: Waiter[], waiter: Waiter): void {
    const place = queue.indexOf(waiter)
    if (place >= 0) queue.splice(place, 1)
    if (place === 0) queue[0]?.resolve()
    if (queue.length === 0 && this.#queues.get(profileId) === queue) this.#queues.delete(profileId)
  }

  #mustBeOpen(): void {
    if (this.#closing.signal.aborted) throw closed()
  }
}

type Waiter = PromiseWithResolvers<void>

function aborted(signal: AbortSignal): GatewayError {
  return new GatewayError('GW_ACQUIRE_ABORTED', 'the caller left while waiting for the lease', { next: 'nothing', cause: signal.reason })
}

function timedOut(waitMs: number): GatewayError {
  const message = `process ${process.pid} (this one) has been refreshing this profile for longer than ${durationOf(waitMs)}; try again later`
  return new GatewayError('GW_LEASE_TIMEOUT', message, { next: 'try_again_later' })
}
