import { profileNote } from '../calls/profile-note.ts'
import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import type { Aggregates, ProfileAggregate } from './aggregates.ts'
import type { ProfileLine, ProfilesAnswer, RefreshLine } from './api-types.ts'
import { outcomeClassOf } from './call-counts.ts'
import type { ProfileHistory } from './profile-history.ts'
import { matchingRefreshes, type QueryParams } from './query-params.ts'
import { refreshLine } from './refreshes-answer.ts'

const MOST_REFRESHES = 60

/** What every profile is and was: from the gateway's own snapshot, and from what spans describe its refreshes and calls. */
export function profilesAnswer(
  aggregates: Aggregates,
  query: QueryParams,
  snapshots: readonly ProfileSnapshot[] | undefined,
  history: ProfileHistory,
): ProfilesAnswer {
  const known = new Map(snapshots?.map(snapshot => [snapshot.profile, snapshot]))
  // A store may hold what no span has reported, and spans may describe what is in no store.
  const names = [...new Set([...known.keys(), ...aggregates.profiles.keys()])].filter(
    name => query.profile === '' || name === query.profile,
  )
  const refreshes = refreshesByProfile(aggregates, query)
  const runtime = runtimeByProfile(aggregates, query)
  return {
    fromMs: query.fromMs,
    toMs: query.toMs,
    profiles: names.map(name => ({
      ...lineOf(name, known.get(name), aggregates.profiles.get(name), {
        nowMs: query.toMs,
        isGone: snapshots !== undefined && !known.has(name),
      }),
      runtime: runtimeOf(runtime.get(name), aggregates.profiles.get(name)),
      states: history.between(name, query.fromMs, query.toMs),
      refreshes: refreshes.get(name) ?? [],
    })),
  }
}

type Line = Omit<ProfileLine, 'runtime' | 'states' | 'refreshes'>

/** @param isGone Profiles are kept here, and this one is not among them. */
function lineOf(
  profile: string,
  snapshot: ProfileSnapshot | undefined,
  seen: ProfileAggregate | undefined,
  { nowMs, isGone }: { nowMs: number; isGone: boolean },
): Line {
  if (!snapshot) {
    return {
      profile,
      provider: seen?.provider ?? 'unknown',
      type: seen?.lastAttempt?.type ?? '',
      billing: seen?.lastAttempt?.billing ?? '',
      state: '',
      // Of a profile that is gone nothing is to be mended.
      note: seen && !isGone ? noteOf(seen) : '',
      expiresAtMs: seen?.lastAttempt?.expiresAtMs,
      generation: seen?.generation,
      restsUntilMs: undefined,
      probe: undefined,
    }
  }
  const { provider, type, billing, state, expiresInSeconds, generation, restsUntil, probe } = snapshot
  return {
    ...{ profile, provider, type, billing, state },
    note: profileNote(snapshot, date => `until ${date.slice(11, 19)} UTC`),
    expiresAtMs: expiresInSeconds === undefined ? undefined : nowMs + expiresInSeconds * 1000,
    generation,
    restsUntilMs: restsUntil === undefined ? undefined : Date.parse(restsUntil),
    probe: probe && { outcome: probe.outcome, atMs: nowMs - probe.ageSeconds * 1000, diverges: probe.diverges },
  }
}

function refreshesByProfile(aggregates: Aggregates, query: QueryParams): Map<string, RefreshLine[]> {
  const lines = new Map<string, RefreshLine[]>()
  for (const fact of matchingRefreshes(aggregates, query)) {
    const of = lines.get(fact.profile) ?? []
    if (of.length < MOST_REFRESHES) of.push(refreshLine(fact))
    lines.set(fact.profile, of)
  }
  return lines
}

/**
 * What ails a login, from spans alone: its last refresh was refused for good, and since then there was no sign-in and no call
 * carried another token.
 */
function noteOf({ lastRefresh, credential, signedInMs = 0 }: ProfileAggregate): string {
  if (!lastRefresh?.permanent) return ''
  const diedMs = lastRefresh.atMs
  return Math.max(signedInMs, credential?.sinceMs ?? 0) > diedMs ? '' : `last refresh ended in ${lastRefresh.outcome}: sign in again`
}

type Runtime = Record<ReturnType<typeof outcomeClassOf>, number>

function runtimeByProfile(aggregates: Aggregates, { fromMs, toMs }: QueryParams): Map<string, Runtime> {
  const runtime = new Map<string, Runtime>()
  for (const { bucket } of aggregates.attempts.between(fromMs, toMs).buckets) {
    for (const count of bucket.counts.values()) {
      const of = runtime.get(count.profile) ?? { good: 0, failed: 0, aborted: 0 }
      of[outcomeClassOf(count)] += count.count
      runtime.set(count.profile, of)
    }
  }
  return runtime
}

function runtimeOf(counts: Runtime | undefined, seen: ProfileAggregate | undefined): ProfileLine['runtime'] {
  const last = seen?.lastAttempt
  const { good: ok, failed, aborted } = counts ?? { good: 0, failed: 0, aborted: 0 }
  return last && { ok, failed, aborted, lastOutcome: last.outcome, lastMs: last.endMs }
}
