import { bearerFingerprint, type Credential, isOAuth, type StoredProfile } from './credential.ts'
import type { AttemptOutcome } from './enums.ts'
import { type Fingerprint, fingerprint } from './fingerprint.ts'

/** The credential that a failed attempt used. Fingerprints only. */
export interface CredentialMark {
  /** Of the secret that was sent. */
  readonly bearer?: Fingerprint
  /** Of an OAuth credential: its rotations when the attempt began. */
  readonly generation?: number
  /** Of the refresh token beside it: it distinguishes a later login from a refresh. */
  readonly refresh?: Fingerprint
  readonly account?: Fingerprint
}

/** The answer that began a rest: what may be shown of it. */
export interface RestAnswer {
  readonly status?: number | undefined
  /** The type of error and its code in the provider's words, bounded. */
  readonly type?: string | undefined
  readonly code?: string | undefined
}

/** Why a profile rests and until when. Times are epoch milliseconds. */
export interface Rest {
  readonly since: number
  readonly until: number
  /** The gravest outcome that was met while resting. */
  readonly because: AttemptOutcome
  /** The provider named the time; otherwise it is our guess. */
  readonly isPromised: boolean
  /** Failures one after the other; parallel ones count once. */
  readonly consecutiveFailures: number
  readonly credential: CredentialMark
  readonly answer?: RestAnswer
}

/** How a profile rests after failed attempts. A rest that is over stays until a success: it counts the failures so far. */
export type Cooldown = { readonly state: 'ready' } | ({ readonly state: 'resting' } & Rest)

/**
 * How an attempt ended.
 *
 * `isBehind`: the attempt began before the present rest was known. Its success takes nothing back, and its failure is
 * the same failure once more.
 */
export type CooldownEvent =
  | { readonly type: 'succeeded'; readonly isBehind?: boolean }
  | {
      readonly type: 'failed'
      readonly outcome: AttemptOutcome
      /** How long the provider asks to wait, in ms. */
      readonly retryAfterMs?: number
      readonly isBehind?: boolean
      readonly credential?: CredentialMark
      readonly answer?: RestAnswer
    }

export const READY: Cooldown = { state: 'ready' }

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/**
 * Rest per failure class, in ms, by consecutive failure; the last step repeats. Classes without a ladder rest the profile
 * only where the provider names a time: a timeout, a server error or a malformed request says nothing about the profile
 * (OpenClaw rests none of them either).
 */
const LADDERS: Partial<Record<AttemptOutcome, readonly number[]>> = {
  rate_limit: [30_000, MINUTE, 5 * MINUTE],
  overloaded: [30_000, MINUTE, 5 * MINUTE],
  auth: [30_000, MINUTE, 5 * MINUTE],
  auth_permanent: [10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR],
  billing: [5 * HOUR, 10 * HOUR, 20 * HOUR, 24 * HOUR],
}

/** No provider may rest a profile for longer than this by its `Retry-After`. */
export const LONGEST_REST_MS = 24 * HOUR

/** Which cause a rest has. The two rest side by side: a new login ends the first, and leaves a limit of the account standing. */
export const REST_CAUSES = ['credential', 'service'] as const
export type RestCause = (typeof REST_CAUSES)[number]

/** Outcomes that can rest a profile, with their cause and how grave they are within it. */
const CAUSES: Partial<Record<AttemptOutcome, { readonly cause: RestCause; readonly gravity: number }>> = {
  auth: { cause: 'credential', gravity: 1 },
  auth_permanent: { cause: 'credential', gravity: 2 },
  timeout: { cause: 'service', gravity: 1 },
  server_error: { cause: 'service', gravity: 1 },
  overloaded: { cause: 'service', gravity: 2 },
  rate_limit: { cause: 'service', gravity: 3 },
  billing: { cause: 'service', gravity: 4 },
}

/** Outcomes that can rest a profile. */
export const REST_OUTCOMES = Object.keys(CAUSES) as readonly AttemptOutcome[]

/** The cause of a rest that begins with this outcome; `undefined` for an outcome that says nothing about the profile. */
export function restCauseOf(outcome: AttemptOutcome): RestCause | undefined {
  return CAUSES[outcome]?.cause
}

/**
 * The next cooldown of a profile, for one cause.
 *
 * A `Retry-After` of the provider beats the ladder. A failure while resting is no further consecutive failure: fifty
 * parallel calls that fail together are one. The longer and the graver of what is known holds.
 *
 * Pure: no clock, no store.
 */
export function nextCooldown(current: Cooldown, event: CooldownEvent, now: number): Cooldown {
  switch (event.type) {
    case 'succeeded':
      return event.isBehind ? current : READY
    case 'failed':
      return afterFailure(current, event, now)
    default:
      return event satisfies never
  }
}

function afterFailure(current: Cooldown, event: Extract<CooldownEvent, { type: 'failed' }>, now: number): Cooldown {
  const { outcome, retryAfterMs, isBehind = false, credential = {}, answer } = event
  const ladder = LADDERS[outcome]
  if (!restCauseOf(outcome) || (!ladder && retryAfterMs === undefined)) return current
  const known = current.state === 'ready' ? undefined : current
  const consecutiveFailures = known ? known.consecutiveFailures + (isBehind || isResting(known, now) ? 0 : 1) : 1
  const wait = retryAfterMs ?? ladder?.[Math.min(consecutiveFailures, ladder.length) - 1] ?? MINUTE
  const next: Cooldown = {
    state: 'resting',
    since: now,
    until: now + Math.min(wait, LONGEST_REST_MS),
    because: outcome,
    isPromised: retryAfterMs !== undefined,
    consecutiveFailures,
    credential,
    ...(answer && { answer }),
  }
  return known && isResting(known, now) ? graverAndLonger(known, next) : next
}

/**
 * Puts two rests of one cause together: until the later end, for the graver outcome. A guess of ours does not prolong a
 * rest that is under way for something as grave.
 */
export function graverAndLonger<One extends Rest>(known: One, other: One): One {
  const isGraver = gravityOf(other.because) > gravityOf(known.because)
  const isLonger = other.until > known.until && (other.isPromised || isGraver)
  if (!isGraver && !isLonger) return known
  const cause = isGraver ? other : known
  const end = isLonger ? other : known
  return {
    ...cause,
    since: known.since,
    until: end.until,
    isPromised: end.isPromised,
    consecutiveFailures: Math.max(known.consecutiveFailures, other.consecutiveFailures),
  }
}

function gravityOf(outcome: AttemptOutcome): number {
  return CAUSES[outcome]?.gravity ?? 0
}

/** Says whether the profile still rests at `now`. */
export function isResting(cooldown: Cooldown, now: number): boolean {
  return cooldown.state === 'resting' && cooldown.until > now
}

const marks = new WeakMap<Credential, CredentialMark>()

/** The mark of a credential. */
export function markOf(credential: Credential): CredentialMark {
  const known = marks.get(credential)
  if (known) return known
  const bearer = bearerFingerprint(credential)
  const refresh = isOAuth(credential) ? fingerprint(credential.refresh) : undefined
  const account = isOAuth(credential) ? fingerprint(credential.account) : undefined
  const mark: CredentialMark = {
    ...(bearer && { bearer }),
    ...(isOAuth(credential) && { generation: credential.generation }),
    ...(refresh && { refresh }),
    ...(account && { account }),
  }
  marks.set(credential, mark)
  return mark
}

/**
 * Says whether a rest still concerns what the profile holds now.
 *
 * A refused credential: while the stored credential is that one; another token, login, import or key was never refused. A limit:
 * while the account is the same or, without a known account, the login, however often it was refreshed since.
 */
export function concerns(cause: RestCause, mark: CredentialMark, { credential, rotatedAway = [] }: StoredProfile): boolean {
  const held = markOf(credential)
  const isSame = mark.bearer === held.bearer && mark.generation === held.generation
  if (cause === 'credential' || isSame) return isSame
  if (!isOAuth(credential) || mark.generation === undefined) return mark.bearer === held.bearer
  if (mark.account !== undefined && held.account !== undefined) return mark.account === held.account
  if (mark.refresh === undefined) return mark.bearer === held.bearer
  return mark.refresh === held.refresh || rotatedAway.includes(mark.refresh)
}
