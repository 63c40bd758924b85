import type { StoredProfile } from '../domain/credential.ts'
import type { Protocol } from '../domain/enums.ts'
import type { Provider } from '../providers/provider.ts'
import type { Registry } from '../providers/registry.ts'
import type { RefreshGate, RefreshPause } from '../refresh/refresh-gate.ts'
import type { StoredRest } from '../store/profile-store.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import type { CallRequest } from './call-request.ts'
import { LastResort } from './last-resort.ts'
import { retryAfterOf } from './next-step.ts'
import type { ProfileCache } from './profile-cache.ts'
import { type Hindrance, type Order, type OrderQuestion, orderProfiles, type Skipped } from './profile-order.ts'

/** Whether a profile could serve a call now, and why not. */
export type ProfileStanding =
  | { readonly serves: true }
  | ({ readonly serves: false } & Pick<Skipped, 'reason' | 'because' | 'waitMs' | 'retryMs'>)

/** Who could serve a call now. */
export interface Readiness {
  readonly canServe: boolean
  /** Ms until the first profile can again, where none can and that is known. */
  readonly retryAfterMs?: number
  /** By profile id. */
  readonly standings: ReadonlyMap<string, ProfileStanding>
}

export interface ProfileChoiceOptions {
  profiles: ProfileCache
  gate: RefreshGate
  registry: Registry
  /** Profile ids in the operator's order. */
  order?: readonly string[]
  /** Whether a subscription's call may go on to a metered profile. */
  metered: 'allow' | 'deny'
  clock?: Clock
}

/** The wire languages of calls that cost something. */
const CALLED = ['responses', 'chat_completions', 'messages'] as const satisfies readonly Protocol[]

/**
 * Who could serve a call now, and why not the others: one answer for the calls themselves, `/readyz`, `gatewatch status`,
 * the ops page and the gauges.
 */
export class ProfileChoice {
  /** Paces attempts while everything rests. */
  readonly lastResort: LastResort
  readonly #options: ProfileChoiceOptions
  readonly #clock: Clock
  readonly #providers: ReadonlyMap<string, Provider>

  constructor(options: ProfileChoiceOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.lastResort = new LastResort({ clock: this.#clock })
    this.#providers = new Map(options.registry.all().map(provider => [provider.id, provider]))
  }

  /** The provider of that id, where it is known here. */
  providerOf(id: string): Provider | undefined {
    return this.#providers.get(id)
  }

  /** Who tries a call, in this order. @throws what the store throws when it could never be listed. */
  async orderFor(request: Pick<CallRequest, 'protocol' | 'provider' | 'profile' | 'speaking' | 'model'>): Promise<Order> {
    const { profiles: profileCache, gate } = this.#options
    return this.#order(await profileCache.listForCall(), request, profile => gate.pauseOf(profile))
  }

  /**
   * Who could serve a call of any model now. A profile that needs a refresh, and whose last one failed, cannot until one
   * succeeds: between two tries a call may try, and fails as long as the cause lasts.
   *
   * @param profiles As they are now.
   */
  readiness(profiles: readonly StoredProfile[]): Readiness {
    const standings = this.#standingsOf(profiles)
    const canServe = [...standings.values()].some(({ serves }) => serves)
    const retryAfterMs = canServe ? undefined : retryAfterOf(failuresOf(profiles, standings))
    return { canServe, standings, ...(retryAfterMs !== undefined && { retryAfterMs }) }
  }

  /** Of each profile whether it serves a call of any protocol, else the first reason why not. */
  #standingsOf(profiles: readonly StoredProfile[]): Map<string, ProfileStanding> {
    const { gate } = this.#options
    const orders = CALLED.map(protocol => this.#order(profiles, { protocol, model: '' }, profile => gate.failureOf(profile)))
    const serving = orders.filter(({ isLastResort }) => !isLastResort).flatMap(({ candidates }) => candidates)
    const passedOver = orders.flatMap(({ isLastResort, skipped, candidates }) => [
      ...skipped,
      ...(isLastResort ? candidates.map(one => this.#paced(one)) : []),
    ])
    // Later entries replace earlier ones. In none of the lists: a profile whose provider is unknown here or serves no calls.
    return new Map<string, ProfileStanding>([
      ...profiles.map(({ id }) => [id, { serves: false, reason: 'mode_mismatch' }] as const),
      ...passedOver.toReversed().map(one => [one.profile.id, standingOf(one)] as const),
      ...serving.map(({ profile }) => [profile.id, { serves: true }] as const),
    ])
  }

  /** One that rests, with the time of the next attempt at it. */
  #paced(resting: Skipped): Skipped {
    const rest = this.#options.profiles.rests.restOf(resting.profile)
    return rest ? { ...resting, retryMs: this.lastResort.retryMsOf(resting.profile.id, rest) } : resting
  }

  #order(
    profiles: readonly StoredProfile[],
    { protocol, provider, profile, speaking, model }: Pick<CallRequest, 'protocol' | 'provider' | 'profile' | 'speaking' | 'model'>,
    pauseOf: (profile: StoredProfile) => RefreshPause | undefined,
  ): Order {
    const { profiles: profileCache, order, metered } = this.#options
    const now = this.#clock.now()
    const question: OrderQuestion = {
      profiles,
      providerOf: id => this.#providers.get(id),
      protocol,
      metered,
      now,
      restOf: candidate => hindranceOf(profileCache.rests.restOf(candidate, model), now),
      pauseOf: candidate => {
        const pause = pauseOf(candidate)
        return pause && { because: pause.outcome, waitMs: pause.waitMs }
      },
      isRefused: candidate => profileCache.rests.isRefused(candidate),
      isDead: candidate => profileCache.isDead(candidate),
      lastUsed: id => profileCache.lastUsed(id),
      ...(order && { order }),
      ...(provider !== undefined && { provider }),
      ...(profile !== undefined && { profile }),
      ...(speaking && { speaking }),
    }
    return orderProfiles(question)
  }
}

/** A rest as what keeps a profile from serving. */
export function hindranceOf(rest: StoredRest | undefined, now: number): Hindrance | undefined {
  if (!rest) return undefined
  const { because, until, answer } = rest
  return { because, waitMs: Math.max(0, until - now), ...(answer?.code !== undefined && { providerCode: answer.code }) }
}

function standingOf({ reason, because, waitMs, retryMs }: Skipped): ProfileStanding {
  return {
    serves: false,
    reason,
    ...(because && { because }),
    ...(waitMs !== undefined && { waitMs }),
    ...(retryMs !== undefined && { retryMs }),
  }
}

function failuresOf(profiles: readonly StoredProfile[], standings: ReadonlyMap<string, ProfileStanding>) {
  return profiles.flatMap(({ id, credential }) => {
    const standing = standings.get(id)
    return standing && !standing.serves ? [{ ...standing, type: credential.type }] : []
  })
}
