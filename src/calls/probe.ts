import { type CallerSite, clientCaller } from '../domain/caller-site.ts'
import type { StoredProfile } from '../domain/credential.ts'
import type { ProbeOutcome } from '../domain/enums.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import type { Registry } from '../providers/registry.ts'
import { OpenEvent, withinEvent } from '../telemetry/open-event.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { CallEnd, CallSink } from './call-request.ts'
import type { ProbeState } from './probe-state.ts'
import { type ProbeVerdict, VERDICTS } from './probe-verdict.ts'
import type { ProfileCache } from './profile-cache.ts'
import type { ProviderCalls } from './provider-calls.ts'

/** What a probe found. */
export interface ProbeResult {
  /** The profile's name as telemetry shows it. */
  readonly profile: string
  readonly provider: string
  /** How it ended: as an attempt, as a profile that is passed over, or as an acquisition that the gate refused. */
  readonly outcome: ProbeOutcome
  readonly verdict: ProbeVerdict
  /** The profile's own calls, a moment ago, say otherwise. */
  readonly diverges: boolean
}

/** @internal */
interface ProbesOptions {
  telemetry: Telemetry
  calls: ProviderCalls
  profiles: ProfileCache
  probes: ProbeState
  registry: Registry
}

/**
 * Whichever caller asked for the probe, its work is done in the probe's own name, so that boards separate it from users' calls.
 *
 * @internal
 */
const PROBE_CALLER: CallerSite = clientCaller('probe')

/** Longest time one probe may take, a refresh included, in ms. */
const DEADLINE_MS = 30_000

/** No caller reads the answer: that it came is what is asked. */
const NO_RECIPIENT: CallSink = { head: () => undefined, chunk: () => true, end: () => undefined, fail: () => undefined }

/**
 * Probes profiles: asks the provider for its models by the very way a call goes, with the same choice of profile, gate and
 * transport. A token is refreshed where the next call would refresh it, and nothing else changes for the calls that follow.
 *
 * @internal
 */
export class Probes {
  readonly #options: ProbesOptions
  readonly #underWay = new Map<string, Promise<ProbeResult>>()
  readonly #closing = new AbortController()

  constructor(options: ProbesOptions) {
    this.#options = options
  }

  /**
   * Probes one profile after the other; a probe that is under way is shared.
   *
   * @param wanted Id of a profile, or its name as telemetry shows it. @default all
   * @param caller Who asks, for the span.
   * @throws {GatewayError} `GW_PROFILE_UNKNOWN`, or what the store throws.
   */
  async run(wanted?: string, caller: CallerSite = PROBE_CALLER): Promise<readonly ProbeResult[]> {
    const { profiles, telemetry } = this.#options
    const known = await profiles.list()
    const isWanted = ({ id }: { readonly id: string }) => id === wanted || telemetry.profile(id) === wanted
    const damaged = profiles.damaged.find(isWanted)
    if (damaged) throw damaged.error
    const chosen = wanted === undefined ? known : known.filter(isWanted)
    if (wanted !== undefined && chosen.length === 0) {
      const names = known.map(({ id }) => telemetry.profile(id)).join(', ') || 'none'
      throw new GatewayError('GW_PROFILE_UNKNOWN', `no profile is called that; there are: ${names}`, { next: 'fix_request' })
    }
    const results: ProbeResult[] = []
    for (const profile of chosen) {
      if (this.#closing.signal.aborted) break
      results.push(await this.#shared(profile, caller))
    }
    return results
  }

  /** Gives up the probes under way and makes no more. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.allSettled(this.#underWay.values())
  }

  #shared(profile: StoredProfile, caller: CallerSite): Promise<ProbeResult> {
    const underWay = this.#underWay.get(profile.id)
    if (underWay) return underWay
    const mine = this.#probe(profile, caller).finally(() => this.#underWay.delete(profile.id))
    this.#underWay.set(profile.id, mine)
    return mine
  }

  #probe(listed: StoredProfile, caller: CallerSite): Promise<ProbeResult> {
    const { telemetry, probes, profiles } = this.#options
    const { id, provider } = listed
    const profile = telemetry.profile(id)
    const event = new OpenEvent(telemetry, 'probe', { provider, profile }, { caller })
    return withinEvent(event, async () => {
      const outcome = await this.#ask(id, provider)
      const verdict: ProbeVerdict = VERDICTS[outcome]
      // What was given up halfway is no probe; the one before still holds.
      const current = await profiles.current(listed)
      if (outcome !== 'aborted') probes.probed(current, outcome)
      const isError = verdict !== 'good' && verdict !== 'silent'
      event.set({ outcome, isError, errorType: isError ? outcome : undefined })
      return { profile, provider, outcome, verdict, diverges: probes.lastOf(current)?.diverges ?? false }
    })
  }

  async #ask(profile: string, providerId: string): Promise<ProbeOutcome> {
    const { calls, registry } = this.#options
    const query = registry.all().find(({ id }) => id === providerId)?.modelsQuery
    const deadline = AbortSignal.timeout(DEADLINE_MS)
    const end = await calls.call(
      {
        caller: PROBE_CALLER,
        protocol: 'models',
        model: '',
        stream: false,
        headers: { accept: 'application/json' },
        provider: providerId,
        profile,
        probe: true,
        signal: AbortSignal.any([deadline, this.#closing.signal]),
        ...(query && { query }),
      },
      NO_RECIPIENT,
    )
    return outcomeOf(end, deadline)
  }
}

function outcomeOf(end: CallEnd, deadline: AbortSignal): ProbeOutcome {
  switch (end.type) {
    case 'served':
      return 'ok'
    case 'broken_off':
      return 'server_error'
    case 'aborted':
      return deadline.aborted ? 'timeout' : 'aborted'
    case 'failed':
      // Without any reason, no profile could be asked: the provider lists no models.
      return end.reason ?? 'mode_mismatch'
    default:
      return end satisfies never
  }
}
