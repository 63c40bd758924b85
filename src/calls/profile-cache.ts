import { expiryOf, type StoredProfile, secretsOf } from '../domain/credential.ts'
import type { Billing, ProfileState } from '../domain/enums.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import { isTokenUsable } from '../domain/profile-state.ts'
import { deadGrant } from '../refresh/refresh-context.ts'
import type { RefreshGate } from '../refresh/refresh-gate.ts'
import type { DamagedProfile, ProfileStore } from '../store/profile-store.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { pinSecret, registerSecret } from '../tools/secret-registry.ts'
import { RestState } from './rest-state.ts'

/** A profile the configuration names. */
export interface ConfiguredProfile {
  readonly id: string
  readonly provider: string
  readonly billing?: Billing
  /** The key of a profile that is not in the store. */
  readonly apiKey?: string
}

interface ProfileCacheOptions {
  gate: RefreshGate
  store: ProfileStore
  configured: readonly ConfiguredProfile[]
  /** Called when the store cannot be listed and the last listing serves. */
  onStoreError?: (error: unknown) => void
  clock?: Clock
}

/** How long a listing of the store is good: a profile that is added is used this much later at most. */
const LIST_FOR_MS = 1_000

/** Every profile this gateway knows, from the configuration and the store, with how it fared lately. */
export class ProfileCache {
  readonly rests: RestState
  readonly #gate: RefreshGate
  readonly #store: ProfileStore
  readonly #onStoreError: (error: unknown) => void
  readonly #clock: Clock
  readonly #configured: ReadonlyMap<string, ConfiguredProfile>
  readonly #lastUsed = new Map<string, number>()
  #uses = 0
  #lastGood: readonly StoredProfile[] | undefined
  #damaged: ReadonlyMap<string, DamagedProfile> = new Map()
  #listed: { readonly at: number; readonly profiles: Promise<readonly StoredProfile[]> } | undefined

  constructor({ gate, store, configured, onStoreError = () => {}, clock = systemClock }: ProfileCacheOptions) {
    this.#gate = gate
    this.#store = store
    this.#onStoreError = onStoreError
    this.#clock = clock
    this.rests = new RestState({ clock, shared: store.rests, onStoreError })
    this.#configured = new Map(configured.map(profile => [profile.id, profile]))
  }

  /**
   * All profiles; at most a second behind the store. While the store cannot be listed, the last listing serves: which
   * token may still be used is decided for each profile again.
   *
   * @throws what the store throws when it could never be listed, and `GW_CLOSED`.
   */
  list(): Promise<readonly StoredProfile[]> {
    const at = this.#clock.monotonic()
    if (this.#listed && at - this.#listed.at < LIST_FOR_MS) return this.#listed.profiles
    const profiles = this.#merge().catch(error => {
      if (!this.#lastGood || isGatewayError(error, 'GW_CLOSED')) throw error
      this.#onStoreError(error)
      return this.#lastGood
    })
    this.#listed = { at, profiles }
    profiles.catch(() => {
      this.#listed = undefined
    })
    return profiles
  }

  /** Profiles that are stored and cannot be read, by the last listing: `list` leaves them out. */
  get damaged(): readonly DamagedProfile[] {
    return [...this.#damaged.values()]
  }

  /** As `list`, read from the store now. */
  listAnew(): Promise<readonly StoredProfile[]> {
    this.#listed = undefined
    return this.list()
  }

  /** What holds for one profile now. */
  async current(profile: StoredProfile): Promise<StoredProfile> {
    if (this.#configured.get(profile.id)?.apiKey !== undefined) return profile
    const current = await this.#gate.current(profile.id)
    return current ? this.#withConfigured(current) : profile
  }

  /**
   * As `list`, with those looked at again that might not serve as they are listed: a new login ends a rest, a pause of the
   * gate and a dead grant at once, and a grant that has died is known as that.
   *
   * @throws as `list`
   */
  async listForCall(): Promise<readonly StoredProfile[]> {
    const listed = await this.list()
    const now = this.#clock.now()
    const isHeldUp = (profile: StoredProfile) =>
      this.rests.knows(profile.id) ||
      !isTokenUsable(profile.credential, now) ||
      deadGrant(profile) !== undefined ||
      this.#gate.pauseOf(profile) !== undefined
    if (!listed.some(isHeldUp)) return listed
    return Promise.all(listed.map(profile => (isHeldUp(profile) ? this.current(profile).catch(() => profile) : profile)))
  }

  /** Every present profile. @throws as `list` */
  async allCurrent(): Promise<readonly StoredProfile[]> {
    return Promise.all((await this.list()).map(listed => this.current(listed)))
  }

  /**
   * Says that only a new login helps: the grant is dead, and its access token does not serve any more. Until then it does
   * serve, although nothing can refresh it.
   */
  isDead(profile: StoredProfile): boolean {
    return deadGrant(profile) !== undefined && !this.#outlivesItsGrant(profile)
  }

  /** When a profile whose grant is dead stops serving, epoch ms, as far as is known; `undefined` where it does not serve or its grant lives. */
  servesUntil(profile: StoredProfile): number | undefined {
    return deadGrant(profile) && this.#outlivesItsGrant(profile) ? expiryOf(profile.credential) : undefined
  }

  /** Why the profile should acquire a token at the gate before it is used. A dead grant has nothing to ask there. */
  needs(profile: StoredProfile): ReturnType<RefreshGate['needs']> {
    return deadGrant(profile) && this.#outlivesItsGrant(profile) ? undefined : this.#gate.needs(profile)
  }

  lastUsed(profileId: string): number {
    return this.#lastUsed.get(profileId) ?? 0
  }

  stateOf(profile: StoredProfile): ProfileState {
    return this.#gate.stateOf(profile, this.rests.isResting(profile))
  }

  /** Notes that the profile is about to serve, for the turn of the others. */
  used(profileId: string): void {
    this.#uses += 1
    this.#lastUsed.set(profileId, this.#uses)
  }

  #outlivesItsGrant(profile: StoredProfile): boolean {
    return isTokenUsable(profile.credential, this.#clock.now()) && !this.rests.isRefused(profile)
  }

  async #merge(): Promise<readonly StoredProfile[]> {
    const [stored, damaged = []] = await Promise.all([this.#store.list(), this.#store.damaged?.(), this.rests.look()])
    this.#noteDamaged(damaged)
    this.#gate.lineage.list(stored)
    for (const profile of stored) {
      // A key or static token is configured; a login's tokens come and go.
      const hide = profile.credential.type === 'oauth' ? registerSecret : pinSecret
      for (const secret of secretsOf(profile.credential)) hide(secret)
    }
    const held = new Map(stored.map(profile => [profile.id, this.#withConfigured(profile)]))
    for (const { id, provider, billing, apiKey } of this.#configured.values()) {
      if (apiKey !== undefined) held.set(id, { id, provider, ...(billing && { billing }), credential: { type: 'api_key', key: apiKey } })
      // A login that is configured and not there yet: shown as missing, not left out in silence.
      else if (!held.has(id) && !this.#damaged.has(id))
        held.set(id, { id, provider, ...(billing && { billing }), credential: { type: 'oauth', generation: 0 } })
    }
    this.rests.retain(new Set(held.keys()))
    this.#lastGood = [...held.values()]
    return this.#lastGood
  }

  /** @param damaged As the store lists them. What the configuration gives a key to needs no row. */
  #noteDamaged(damaged: readonly DamagedProfile[]): void {
    const before = this.#damaged
    this.#damaged = new Map(damaged.filter(({ id }) => this.#configured.get(id)?.apiKey === undefined).map(one => [one.id, one]))
    for (const { id, error } of this.#damaged.values()) if (before.get(id)?.error.message !== error.message) this.#onStoreError(error)
  }

  #withConfigured(profile: StoredProfile): StoredProfile {
    const billing = this.#configured.get(profile.id)?.billing
    return billing ? { ...profile, billing } : profile
  }
}
