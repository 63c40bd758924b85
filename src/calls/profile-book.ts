import type { AttemptOutcome, Billing, ProfileState } from '../../otel/words.ts'
import { deadGrant } from '../auth/flight-deck.ts'
import type { RefreshGate } from '../auth/refresh-gate.ts'
import { type Cooldown, isResting, nextCooldown, READY } from '../domain/cooldown.ts'
import { type StoredProfile, secretsOf } from '../domain/credential.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { hideText, pinHiddenText } from '../tools/hidden-texts.ts'

/** A profile the configuration names. */
export interface ConfiguredProfile {
  readonly id: string
  readonly provider: string
  readonly billing?: Billing
  /** The key of a profile that is not in the store. */
  readonly apiKey?: string
}

export interface ProfileBookOptions {
  gate: RefreshGate
  store: ProfileStore
  configured: readonly ConfiguredProfile[]
  /** Told when the store cannot be listed and the last listing serves. */
  onStoreError?: (error: unknown) => void
  clock?: Clock
}

/** How long a listing of the store is good: a profile that somebody adds is used this much later at the most. */
const LIST_FOR_MS = 1_000

/** Every profile this gateway knows, from the configuration and the store, with how it fared lately. */
export class ProfileBook {
  readonly #gate: RefreshGate
  readonly #store: ProfileStore
  readonly #onStoreError: (error: unknown) => void
  readonly #clock: Clock
  readonly #configured: ReadonlyMap<string, ConfiguredProfile>
  readonly #cooldowns = new Map<string, Cooldown>()
  readonly #lastUsed = new Map<string, number>()
  #uses = 0
  #lastGood: readonly StoredProfile[] | undefined
  #listed: { readonly at: number; readonly profiles: Promise<readonly StoredProfile[]> } | undefined

  constructor({ gate, store, configured, onStoreError = () => {}, clock = systemClock }: ProfileBookOptions) {
    this.#gate = gate
    this.#store = store
    this.#onStoreError = onStoreError
    this.#clock = clock
    this.#configured = new Map(configured.map(profile => [profile.id, profile]))
  }

  /**
   * All profiles; at most a second behind the store. While the store cannot be listed, the last listing serves: which
   * token may still be used is decided for each profile anew.
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

  /** What holds for one profile now. */
  async current(profile: StoredProfile): Promise<StoredProfile> {
    if (this.#configured.get(profile.id)?.apiKey !== undefined) return profile
    const current = await this.#gate.current(profile.id)
    return current ? this.#withConfigured(current) : profile
  }

  isResting(profileId: string): boolean {
    return isResting(this.#cooldowns.get(profileId) ?? READY, this.#clock.now())
  }

  isDead(profile: StoredProfile): boolean {
    return deadGrant(profile) !== undefined
  }

  lastUsed(profileId: string): number {
    return this.#lastUsed.get(profileId) ?? 0
  }

  cooldownOf(profileId: string): Cooldown {
    return this.#cooldowns.get(profileId) ?? READY
  }

  stateOf(profile: StoredProfile): ProfileState {
    if (profile.credential.type === 'oauth' && !profile.credential.access && !profile.credential.refresh) return 'missing_credential'
    const state = this.#gate.stateOf(profile)
    return state !== 'needs_login' && this.isResting(profile.id) ? 'resting' : state
  }

  /** Notes that the profile is about to serve, for the turn of the others. */
  used(profileId: string): void {
    this.#uses += 1
    this.#lastUsed.set(profileId, this.#uses)
  }

  /** Notes how an attempt ended. */
  ended(profileId: string, outcome: AttemptOutcome, retryAfterMs?: number): void {
    const current = this.cooldownOf(profileId)
    if (outcome === 'ok' && current.state === 'ready') return
    const event =
      outcome === 'ok'
        ? ({ type: 'succeeded' } as const)
        : { type: 'failed' as const, outcome, ...(retryAfterMs !== undefined && { retryAfterMs }) }
    this.#cooldowns.set(profileId, nextCooldown(current, event, this.#clock.now()))
  }

  async #merge(): Promise<readonly StoredProfile[]> {
    const stored = await this.#store.list()
    for (const profile of stored) {
      this.#gate.lineage.learn(profile)
      // A key or static token is configured; a login's tokens come and go.
      const hide = profile.credential.type === 'oauth' ? hideText : pinHiddenText
      for (const secret of secretsOf(profile.credential)) hide(secret)
    }
    const held = new Map(stored.map(profile => [profile.id, this.#withConfigured(profile)]))
    for (const { id, provider, billing, apiKey } of this.#configured.values()) {
      if (apiKey !== undefined) held.set(id, { id, provider, ...(billing && { billing }), credential: { type: 'api_key', key: apiKey } })
      // A login that is configured and not there yet: shown as missing, not left out in silence.
      else if (!held.has(id)) held.set(id, { id, provider, ...(billing && { billing }), credential: { type: 'oauth', generation: 0 } })
    }
    this.#lastGood = [...held.values()]
    return this.#lastGood
  }

  #withConfigured(profile: StoredProfile): StoredProfile {
    const billing = this.#configured.get(profile.id)?.billing
    return billing ? { ...profile, billing } : profile
  }
}
