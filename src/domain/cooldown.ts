import type { AttemptOutcome } from '../../otel/words.ts'

/** How a profile rests after failed attempts. Times are epoch milliseconds. */
export type Cooldown =
  | { readonly state: 'ready' }
  | { readonly state: 'resting'; readonly until: number; readonly strikes: number; readonly because: AttemptOutcome }

export type CooldownEvent =
  | { readonly type: 'succeeded' }
  | { readonly type: 'failed'; readonly outcome: AttemptOutcome; readonly retryAfterMs?: number }

export const READY: Cooldown = { state: 'ready' }

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/**
 * Rest per failure class, in ms, by strike; the last step repeats. Classes without a ladder do not rest the profile:
 * a timeout, a server error or a malformed request says nothing about the profile (OpenClaw rests none of them either).
 */
const LADDERS: Partial<Record<AttemptOutcome, readonly number[]>> = {
  rate_limit: [30_000, MINUTE, 5 * MINUTE],
  overloaded: [30_000, MINUTE, 5 * MINUTE],
  auth: [30_000, MINUTE, 5 * MINUTE],
  auth_permanent: [10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR],
  billing: [5 * HOUR, 10 * HOUR, 20 * HOUR, 24 * HOUR],
}

/** No provider may rest a profile for longer than this by its `Retry-After`. */
const LONGEST_REST_MS = 24 * HOUR

/**
 * The next cooldown of a profile.
 *
 * A `Retry-After` of the provider beats the ladder. A failure while resting (another call was already under way) does
 * not add a strike: fifty parallel calls that fail together are one failure.
 */
export function nextCooldown(current: Cooldown, event: CooldownEvent, now: number): Cooldown {
  switch (event.type) {
    case 'succeeded':
      return READY
    case 'failed': {
      const ladder = LADDERS[event.outcome]
      if (!ladder) return current
      if (isResting(current, now)) return current
      const strikes = current.state === 'resting' ? current.strikes + 1 : 1
      const step = ladder[Math.min(strikes, ladder.length) - 1] ?? MINUTE
      return { state: 'resting', until: now + Math.min(event.retryAfterMs ?? step, LONGEST_REST_MS), strikes, because: event.outcome }
    }
    default:
      return event satisfies never
  }
}

/** Says whether the profile still rests at `now`. */
export function isResting(cooldown: Cooldown, now: number): boolean {
  return cooldown.state === 'resting' && cooldown.until > now
}
