import { createHash } from 'node:crypto'
import { OTHER } from '../../otel/semconv.ts'
import { setNewest } from '../tools/drop-oldest.ts'
import type { FaultReporter } from './fault-reporter.ts'
import { sanitizeName } from './sanitize-name.ts'

/** A word that may stand in telemetry unchanged. */
export const PLAIN_WORD = /^[a-z][a-z0-9_-]{0,31}$/
const MOST_CACHED = 10_000
const names = new Map<string, string>()

/**
 * The name of a profile as telemetry may show it.
 *
 * Profile ids carry e-mail addresses (`openai-codex:me@example.com`). The part after the provider stays readable when
 * it is a plain word (`default`, `team-a`), else it becomes eight hex digits, the same in every process. Who wants to read
 * a name there gives the profile one in the configuration.
 */
export function profileName(profileId: string): string {
  const known = names.get(profileId)
  if (known) return known
  const colon = profileId.indexOf(':')
  const provider = colon < 0 ? '' : profileId.slice(0, colon)
  const account = profileId.slice(colon + 1)
  const name = `${isPlain(provider) ? `${provider}:` : ''}${isPlain(account) ? account : digest(profileId)}`
  if (names.size < MOST_CACHED) names.set(profileId, name)
  return name
}

/** How an application or its operator names profiles. A callback is called once for each profile, as long as that is remembered. */
export interface ProfileNaming {
  /** Names of the configuration, by profile id. */
  readonly configured?: ReadonlyMap<string, string> | undefined
  readonly nameOf?: ((profileId: string) => string | undefined) | undefined
  /** Metrics have groups instead of profiles. */
  readonly groupOf?: ((profileId: string) => string | undefined) | undefined
}

/** What is no profile: it has no other name, and is its own group. */
const UNKNOWN = 'unknown'

/** Names of profiles in telemetry, and groups of them in metrics. */
export class ProfileNames {
  readonly #naming: ProfileNaming
  readonly #faults: FaultReporter
  readonly #names = new Map<string, string>()
  /** By the name of the profile: a measurement has no id. */
  readonly #groups = new Map<string, string>()

  constructor(naming: ProfileNaming, faults: FaultReporter) {
    this.#naming = naming
    this.#faults = faults
  }

  /** The profile's name as telemetry may show it. */
  of(profileId: string): string {
    const { configured, nameOf, groupOf } = this.#naming
    if (!nameOf && !groupOf) return configured?.get(profileId) ?? profileName(profileId)
    const name = this.#names.get(profileId) ?? this.#nameOf(profileId)
    // Those of profiles in use stay.
    setNewest(this.#names, profileId, name, MOST_CACHED)
    if (groupOf) setNewest(this.#groups, name, this.#groups.get(name) ?? this.#groupOf(profileId), MOST_CACHED)
    return name
  }

  /** The group of a profile by its name: `_other` for one that has none. */
  get groupOf(): ((name: string) => string) | undefined {
    return this.#naming.groupOf && (name => this.#groups.get(name) ?? (name === UNKNOWN ? UNKNOWN : OTHER))
  }

  #nameOf(profileId: string): string {
    const { configured, nameOf } = this.#naming
    const given = configured?.get(profileId)
    if (given !== undefined || !nameOf || profileId === UNKNOWN) return given ?? profileName(profileId)
    const name = this.#faults.text('the option labels.profileName', () => nameOf(profileId))
    return name !== undefined && sanitizeName(name) === name ? name : profileName(profileId)
  }

  #groupOf(profileId: string): string {
    const { groupOf } = this.#naming
    if (!groupOf || profileId === UNKNOWN) return UNKNOWN
    const group = this.#faults.text('the option labels.profileGroup', () => groupOf(profileId))
    if (group === undefined) return OTHER
    return sanitizeName(group) === group ? group : profileName(group)
  }
}

function isPlain(word: string): boolean {
  return PLAIN_WORD.test(word) && sanitizeName(word) === word
}

function digest(profileId: string): string {
  return createHash('sha256').update('gatewatch-profile-v1\0').update(profileId).digest('hex').slice(0, 8)
}
