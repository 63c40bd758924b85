import type { CallerSite } from '../domain/caller-site.ts'
import { REST_OUTCOMES } from '../domain/cooldown.ts'
import {
  type AttemptOutcome,
  BILLINGS,
  type Billing,
  LOGIN_METHODS,
  type LoginMethod,
  OPERATION_OUTCOMES,
  type OperationOutcome,
} from '../domain/enums.ts'
import { configError } from '../domain/gateway-error.ts'
import { DURATION, FLAG, type GivenFields, isGivenWell, MOMENT, momentOf, NAME, oneWordOf, optional } from '../telemetry/given-fields.ts'
import { activeEvent, type EventFields, OpenEvent } from '../telemetry/open-event.ts'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { FALLBACK_REASONS, type FallbackReason } from './fallback.ts'
import type { ReportedProfiles } from './reported-profiles.ts'

/** A fallback that the application's own gateway makes: a call goes on with another profile. */
export interface FallbackNote {
  /** Id of the profile that is given up. */
  readonly from: string
  /** Id of the profile that the call goes on with. */
  readonly to: string
  /** Why. */
  readonly reason: FallbackReason
  /** `to` is paid for otherwise than `from`. @default by what `observeProfiles` says of both, else false */
  readonly billingChanged?: boolean
  /** How `to` is paid for. @default by what `observeProfiles` says of it; 'metered' where the billing changes */
  readonly billing?: Billing
  readonly model?: string
  /** Provider of `from`. @default that of the wrapped call, or of the profile where it is known */
  readonly provider?: string
}

/** A profile that the application's own gateway leaves alone for a while. Either `until` or `durationMs` is given. */
export interface CooldownNote {
  /** Id of the profile. */
  readonly profile: string
  /** @default that of the wrapped call, or of the profile where it is known */
  readonly provider?: string
  /** What began it. */
  readonly reason: Extract<AttemptOutcome, 'auth' | 'auth_permanent' | 'billing' | 'rate_limit' | 'overloaded' | 'timeout' | 'server_error'>
  /** When it ends: epoch ms, or a date. One in the past ends the cooldown. */
  readonly until?: number | Date
  /** How long it lasts, in ms; 0 ends it. At most a day. */
  readonly durationMs?: number
}

/** A user has signed in, or tried to. */
export interface LoginNote {
  /** Id of the profile. */
  readonly profile: string
  readonly provider: string
  readonly method?: LoginMethod
  /** @default 'ok' */
  readonly outcome?: OperationOutcome
}

/** A user has signed out. */
export interface LogoutNote {
  /** Id of the profile. */
  readonly profile: string
  readonly provider: string
}

const FALLBACK_FIELDS = {
  from: NAME,
  to: NAME,
  reason: oneWordOf(FALLBACK_REASONS),
  billingChanged: optional(FLAG),
  billing: optional(oneWordOf(BILLINGS)),
  model: optional(NAME),
  provider: optional(NAME),
} satisfies Record<keyof FallbackNote, unknown> & GivenFields

const COOLDOWN_FIELDS = {
  profile: NAME,
  provider: optional(NAME),
  reason: oneWordOf(REST_OUTCOMES),
  until: optional(MOMENT),
  durationMs: optional(DURATION),
} satisfies Record<keyof CooldownNote, unknown> & GivenFields

const LOGIN_FIELDS = {
  profile: NAME,
  provider: NAME,
  method: optional(oneWordOf(LOGIN_METHODS)),
  outcome: optional(oneWordOf(OPERATION_OUTCOMES)),
} satisfies Record<keyof LoginNote, unknown> & GivenFields

const LOGOUT_FIELDS = { profile: NAME, provider: NAME } satisfies Record<keyof LogoutNote, unknown> & GivenFields

/** Outcomes of a login that are no failure: it went well, or its user gave it up. */
const NO_FAILURE: ReadonlySet<OperationOutcome> = new Set(['ok', 'cancelled'])

/**
 * What an application with a gateway of its own reports of its calls and logins. A note becomes what the gateway of Gatewatch makes of
 * the same: a step of the wrapped call around it, or an event of its own. A note runs within a request of the application: one that cannot be
 * used is reported, not thrown, and records nothing.
 */
export class Notes {
  readonly #telemetry: Telemetry
  readonly #profiles: ReportedProfiles

  constructor(telemetry: Telemetry, profiles: ReportedProfiles) {
    this.#telemetry = telemetry
    this.#profiles = profiles
  }

  /** A call goes on with another profile. */
  fallback(note: FallbackNote, caller: CallerSite): void {
    this.#take('noteFallback', note, FALLBACK_FIELDS, () => this.#fellBack(note, caller))
  }

  /** A profile is left alone for a while. */
  cooldown(note: CooldownNote, caller: CallerSite): void {
    this.#take('noteCooldown', note, COOLDOWN_FIELDS, () => this.#coolsDown(note, caller))
  }

  /** A user has signed in, or tried to. */
  login(note: LoginNote, caller: CallerSite): void {
    this.#take('noteLogin', note, LOGIN_FIELDS, () => {
      const { profile, provider, method: loginMethod, outcome = 'ok' } = note
      const isError = !NO_FAILURE.has(outcome)
      const fields = { loginMethod, outcome, isError, errorType: isError ? outcome : undefined }
      this.#operation('login', { ...fields, provider, profile: this.#telemetry.profile(profile) }, caller)
      if (outcome === 'ok') this.#profiles.loggedIn(profile, provider)
    })
  }

  /** A user has signed out. */
  logout(note: LogoutNote, caller: CallerSite): void {
    this.#take('noteLogout', note, LOGOUT_FIELDS, () => {
      const { profile, provider } = note
      this.#operation('revoke', { outcome: 'ok', provider, profile: this.#telemetry.profile(profile) }, caller)
      this.#profiles.loggedOut(profile, provider)
    })
  }

  #take(place: string, note: unknown, fields: GivenFields, record: () => void): void {
    const { faults } = this.#telemetry
    if (isGivenWell(faults, place, note, fields)) faults.guard(place, record, undefined)
  }

  #fellBack({ from, to, reason, model, ...given }: FallbackNote, caller: CallerSite): void {
    const [former, next] = [this.#profiles.lastObserved(from), this.#profiles.lastObserved(to)]
    const fallbackFrom = this.#telemetry.profile(from)
    const fallbackTo = this.#telemetry.profile(to)
    const isBillingKnown = former?.billing !== undefined && next?.billing !== undefined
    const { billingChanged = isBillingKnown && former.billing !== next.billing } = given
    const { billing = next?.billing ?? (billingChanged ? 'metered' : undefined) } = given
    const underWay = activeEvent('attempt', 'call')
    const provider = given.provider ?? this.#profiles.providerOf(from) ?? underWay?.facts.provider ?? 'unknown'
    const step = { provider, fallbackFrom, fallbackTo, fallbackReason: reason }
    const event =
      underWay ??
      new OpenEvent(
        this.#telemetry,
        'call',
        {
          provider: this.#profiles.providerOf(to) ?? provider,
          profile: fallbackTo,
          preferredProfile: fallbackFrom,
          ...(model !== undefined && { model: sanitizeName(model) }),
        },
        { caller },
      )
    event.step('fallback', step)
    if (billingChanged) event.step('billing_changed', step)
    event.set({ ...(billing && { billing }), ...(billingChanged && { billingChanged }) })
    // From here on the wrapped call is one of the other profile, unless it names a third one.
    if (underWay && [fallbackFrom, 'unknown'].includes(underWay.facts.profile ?? 'unknown')) underWay.set({ profile: fallbackTo })
    if (!underWay) event.end()
  }

  #coolsDown({ profile: profileId, reason, until, durationMs, ...given }: CooldownNote, caller: CallerSite): void {
    const untilMs = until === undefined ? Date.now() + (durationMs ?? Number.NaN) : momentOf(until)
    if (Number.isNaN(untilMs)) {
      const error = configError('noteCooldown: until and durationMs are missing, allowed: one of them')
      this.#telemetry.faults.report('noteCooldown.until and durationMs', error)
      return
    }
    const underWay = activeEvent('attempt', 'call')
    const provider = given.provider ?? this.#profiles.providerOf(profileId) ?? underWay?.facts.provider ?? 'unknown'
    this.#profiles.rests(profileId, { provider, because: reason, until: untilMs })
    if (untilMs <= Date.now()) return
    const profile = this.#telemetry.profile(profileId)
    // It stands for no call: the one that failed is an event of its own, where it was wrapped.
    const facts = { provider, profile, standsFor: 0, isError: true, errorType: reason }
    const event = underWay ?? new OpenEvent(this.#telemetry, 'call', facts, { caller })
    event.step('skipped', { profile, skipReason: 'cooldown' })
    if (!underWay) event.end()
  }

  /** Within a wrapped operation of the same kind it is said of that one. */
  #operation(operation: 'login' | 'revoke', fields: EventFields<'login'>, caller: CallerSite): void {
    const underWay = activeEvent('login')
    if (underWay && 'operation' in underWay.facts && underWay.facts.operation === operation) underWay.set(fields)
    else new OpenEvent(this.#telemetry, 'login', { ...fields, operation }, { caller }).end()
  }
}
