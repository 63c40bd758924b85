import { profileNote } from '../calls/profile-note.ts'
import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import type { ProfileEvents, ProfileEventsAnswer, ProfileLine, ProfilesAnswer } from '../events/queries/answers.ts'
import type { ViewFilter } from '../events/queries/view-filter.ts'
import type { ProfileHistory } from './profile-history.ts'

/** What every profile is and was: from the gateway's own snapshot, and from what events say of its refreshes and calls. */
export function profilesAnswer(
  { fromMs, toMs, profiles }: ProfileEventsAnswer,
  { profile: wanted }: ViewFilter,
  { snapshots, history }: { readonly snapshots: readonly ProfileSnapshot[] | undefined; readonly history: ProfileHistory },
): ProfilesAnswer {
  const known = new Map(snapshots?.map(snapshot => [snapshot.profile, snapshot]))
  const seen = new Map(profiles.map(profile => [profile.profile, profile]))
  // A store may hold what no event has reported, and events may name what is in no store.
  const names = [...new Set([...known.keys(), ...seen.keys()])].filter(name => wanted === undefined || name === wanted)
  return {
    fromMs,
    toMs,
    profiles: names.map(name => ({
      ...lineOf(name, known.get(name), seen.get(name), { nowMs: toMs, isGone: snapshots !== undefined && !known.has(name) }),
      runtime: seen.get(name)?.runtime,
      states: history.between(name, fromMs, toMs),
      refreshes: seen.get(name)?.refreshes ?? [],
    })),
  }
}

type Line = Omit<ProfileLine, 'runtime' | 'states' | 'refreshes'>

/** @param isGone Profiles are kept here, and this one is not among them. */
function lineOf(
  profile: string,
  snapshot: ProfileSnapshot | undefined,
  seen: ProfileEvents | undefined,
  { nowMs, isGone }: { readonly nowMs: number; readonly isGone: boolean },
): Line {
  if (!snapshot) {
    return {
      profile,
      provider: seen?.provider ?? 'unknown',
      type: seen?.type ?? '',
      billing: seen?.billing ?? '',
      state: '',
      // Of a profile that is gone nothing is to be mended.
      note: seen?.deadBy === undefined || isGone ? '' : `last refresh ended in ${seen.deadBy}: sign in again`,
      expiresAtMs: seen?.expiresAtMs,
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
