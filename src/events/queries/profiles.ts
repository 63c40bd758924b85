import type { DatabaseSync } from 'node:sqlite'
import type { AttemptEvent, TokenRequestEvent } from '../../domain/events.ts'
import { isPermanent } from '../../domain/token-request-outcome.ts'
import { EventReader } from '../event-reader.ts'
import type { ProfileEvents, ProfileEventsAnswer } from './answers.ts'
import { refreshLinesOf } from './callers.ts'
import { ATTEMPT_CLASS, type AttemptClass, attemptCondition } from './calls.ts'
import { refreshCondition, selectRows, type ViewFilter, type ViewRange, viewRange } from './view-filter.ts'

const MOST_PROFILES = 1_000
const MOST_REFRESHES = 60

/** What events say of every profile: its last refresh and call of all that are stored, and how it fared in the time that is looked at. */
export function profileEvents(database: DatabaseSync, filter: ViewFilter): ProfileEventsAnswer {
  const range = viewRange(database, filter)
  const names = profileNames(database).filter(name => filter.profile === undefined || name === filter.profile)
  const runtimes = runtimesOf(database, range)
  const profiles = names.map(profile => ofProfile(database, { profile, filter, range, runtime: runtimes.get(profile) }))
  return { fromMs: range.fromMs, toMs: range.toMs, profiles }
}

/** Profiles that events name; `unknown` where one of a refresh or an attempt names none. */
export function profileNames(database: DatabaseSync): string[] {
  const named = selectRows<{ profile: string }>(
    database,
    // From one name to the next by the index: no event is looked at.
    `WITH RECURSIVE name (profile) AS (
        SELECT min(profile) FROM event
        UNION ALL SELECT (SELECT min(profile) FROM event WHERE profile > name.profile) FROM name WHERE name.profile IS NOT NULL)
      SELECT profile FROM name WHERE profile IS NOT NULL LIMIT ${MOST_PROFILES}`,
  ).map(({ profile }) => profile)
  const unnamed = database.prepare("SELECT 1 FROM event WHERE profile IS NULL AND kind IN ('token_request', 'attempt') LIMIT 1").get()
  return [...new Set([...named, ...(unnamed ? ['unknown'] : [])])]
}

type Runtime = Record<AttemptClass, number>

function runtimesOf(database: DatabaseSync, range: ViewRange): Map<string, Runtime> {
  const { where, values } = attemptCondition({ windowMs: 0, toMs: range.toMs }, range)
  const groups = selectRows<{ name: string; class: AttemptClass; count: number }>(
    database,
    `SELECT coalesce(profile, 'unknown') AS name, ${ATTEMPT_CLASS} AS class, total(stands_for) AS count FROM event WHERE ${where} GROUP BY 1, 2`,
    values,
  )
  const runtimes = new Map<string, Runtime>()
  for (const { name, class: kind, count } of groups) {
    const runtime = runtimes.get(name) ?? { good: 0, failed: 0, aborted: 0 }
    runtime[kind] += count
    runtimes.set(name, runtime)
  }
  return runtimes
}

interface ProfileWanted {
  readonly profile: string
  readonly filter: ViewFilter
  readonly range: ViewRange
  readonly runtime: Runtime | undefined
}

function ofProfile(database: DatabaseSync, { profile, filter, range, runtime }: ProfileWanted): ProfileEvents {
  const reader = new EventReader(database)
  const newest = (kind: string, more = '') =>
    reader.where(`${isProfile(profile)} AND kind = '${kind}' ${more} ORDER BY start_ms DESC LIMIT 1`, profile).next().value
  const refresh = newest('token_request', "AND grant_type IS NOT 'other'") as TokenRequestEvent | undefined
  const attempt = newest('attempt') as AttemptEvent | undefined
  const { good: ok, failed, aborted } = runtime ?? { good: 0, failed: 0, aborted: 0 }
  return {
    profile,
    provider: refresh?.provider ?? attempt?.provider ?? 'unknown',
    type: attempt?.credentialType ?? '',
    billing: attempt?.billing ?? '',
    expiresAtMs: attempt?.credentialExpiresInS === undefined ? undefined : attempt.startMs + attempt.credentialExpiresInS * 1_000,
    generation: refresh && generationAfter(refresh),
    deadBy: refresh && isDead(database, profile, refresh) ? refresh.outcome : undefined,
    runtime: attempt && { ok, failed, aborted, lastOutcome: attempt.outcome, lastMs: attempt.startMs + attempt.durationMs },
    refreshes: refreshLinesOf(database, refreshCondition({ ...filter, profile }, range), MOST_REFRESHES),
  }
}

/** @returns A condition with one parameter, the profile. */
function isProfile(profile: string): string {
  return profile === 'unknown' ? "coalesce(profile, 'unknown') = ?" : 'profile = ?'
}

/** A refresh records the generation it found; what it left behind is one more when it rotated. */
function generationAfter({ outcome, generation, steps }: TokenRequestEvent): number | undefined {
  const found = steps.findLast(step => step.generation !== undefined)?.generation ?? generation
  return found === undefined || outcome !== 'rotated' ? found : found + 1
}

/**
 * Says whether a login is dead, by its events alone: its last refresh was refused for good, and since then there was no sign-in
 * and no call that carried a token which was not seen before.
 */
function isDead(database: DatabaseSync, profile: string, { outcome, startMs: diedMs }: TokenRequestEvent): boolean {
  if (outcome === undefined || !isPermanent(outcome)) return false
  const since = `${isProfile(profile)} AND start_ms > ?`
  const reader = new EventReader(database)
  for (const login of reader.where(`${isProfile(profile)} AND kind = 'login' AND is_error = 0 AND end_ms > ?`, profile, diedMs))
    if (login.kind === 'login' && login.operation === 'login') return false
  const known = new Set<string | undefined>([undefined])
  for (const event of reader.where(
    `${isProfile(profile)} AND kind = 'attempt' AND start_ms <= ? ORDER BY start_ms DESC LIMIT 1000`,
    profile,
    diedMs,
  ))
    if (event.kind === 'attempt') known.add(event.credentialFingerprint)
  for (const event of reader.where(`${since} AND kind = 'attempt' ORDER BY start_ms LIMIT 1000`, profile, diedMs))
    if (event.kind === 'attempt' && !known.has(event.credentialFingerprint)) return false
  return true
}
