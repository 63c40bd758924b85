import type { ProbeResult } from '../calls/probe.ts'
import { profileNote } from '../calls/profile-note.ts'
import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import type { EventCounts, MoveCount } from '../events/queries/counts.ts'
import { EXIT, type ExitCode, inWords, textTable } from './output.ts'

const WARNING = new Set<ProfileSnapshot['state']>(['expiring', 'resting', 'not_persisted'])
const DEAD = new Set<ProfileSnapshot['state']>(['needs_login', 'missing_credential', 'damaged'])

/** A profile as a command lists it. */
export interface ListedProfile extends ProfileSnapshot {
  /** Name of the variable that holds its key where the gateway runs, and is not set in this shell. */
  readonly keyNotSet?: string
}

/** Profiles as a table for people. */
export function profileTable(profiles: readonly ListedProfile[]): string {
  if (profiles.length === 0)
    return 'no profile yet: name one under "profiles" in the configuration, or sign in with gatewatch profiles login'
  return textTable(
    ['PROFILE', 'TYPE', 'BILLING', 'STATE', 'SERVES', 'EXPIRES IN', 'GENERATION', 'NOTE'],
    profiles.map(profile => [
      profile.profile,
      profile.type,
      profile.billing,
      profile.keyNotSet === undefined ? profile.state : '-',
      profile.keyNotSet !== undefined ? '-' : profile.serves ? 'yes' : `no: ${profile.whyNot ?? 'unknown'}`,
      profile.expiresInSeconds === undefined ? '-' : inWords(profile.expiresInSeconds),
      profile.generation ?? '-',
      noteOf(profile),
    ]),
  )
}

/**
 * What a script needs to know: whether a call could be served, and the worst state of all. An expired access token with a
 * live login is refreshed when used.
 */
export function exitCodeOf(profiles: readonly ProfileSnapshot[]): ExitCode {
  if (!profiles.some(({ serves }) => serves)) return EXIT.dead
  if (profiles.some(({ state, type }) => DEAD.has(state) || (state === 'expired' && type !== 'oauth'))) return EXIT.dead
  return profiles.some(({ state, probe }) => WARNING.has(state) || probe?.diverges) ? EXIT.warning : EXIT.good
}

/** What probes that were just made add to it. A token that calls still use and a probe saw rejected diverges, it is not dead yet. */
export function exitCodeOfProbes(probes: readonly ProbeResult[]): ExitCode {
  if (probes.some(({ verdict, diverges }) => verdict === 'dead' && !diverges)) return EXIT.dead
  return probes.some(({ verdict, diverges }) => diverges || verdict === 'unrefreshed' || verdict === 'troubled') ? EXIT.warning : EXIT.good
}

/** The one of two that is worse. */
export function worseOf(one: ExitCode, other: ExitCode): ExitCode {
  return [EXIT.dead, EXIT.warning].find(code => code === one || code === other) ?? EXIT.good
}

function noteOf(profile: ListedProfile): string {
  if (profile.keyNotSet !== undefined) return `its key is in ${profile.keyNotSet}, which is not set in this shell`
  const state = profileNote(profile, date => `for ${inWords(Math.max(0, (Date.parse(date) - Date.now()) / 1000))}`)
  return [state, probeNoteOf(profile)].filter(note => note !== '').join('; ')
}

function probeNoteOf({ probe }: ProfileSnapshot): string {
  if (!probe) return ''
  return `probed ${inWords(probe.ageSeconds)} ago: ${probe.outcome}${probe.diverges ? ', calls say otherwise' : ''}`
}

/** Who refreshed, who acquired a token at the gate and which profiles were given up, as tables for people. */
export function callerTables({ refreshes, acquisitions, fallbacks, billingChanges }: EventCounts, nowMs: number): string {
  const ago = (lastSeenMs: number) => `${inWords(Math.max(0, (nowMs - lastSeenMs) / 1000))} ago`
  const parts: string[] = []
  parts.push(
    refreshes.length === 0
      ? 'no token request yet'
      : `Token requests\n${textTable(
          ['CALLER', 'REASON', 'VIA', 'OUTCOME', 'COUNT', 'LAST'],
          refreshes.map(row => [row.caller, row.reason, row.via, row.outcome, row.count, ago(row.lastSeenMs)]),
        )}`,
  )
  if (acquisitions.length > 0) {
    parts.push(
      `Acquisitions at the gate\n${textTable(
        ['CALLER', 'REASON', 'DECISION', 'COUNT', 'LAST'],
        acquisitions.map(row => [row.caller, row.reason, row.decision, row.count, ago(row.lastSeenMs)]),
      )}`,
    )
  }
  const moves = (title: string, from: string, to: string, rows: readonly MoveCount[]) => {
    if (rows.length === 0) return
    const lines = rows.map(row => [row.from, row.to, row.reason, row.count, ago(row.lastSeenMs)])
    parts.push(`${title}\n${textTable([from, to, 'REASON', 'COUNT', 'LAST'], lines)}`)
  }
  moves('Fallbacks', 'FROM', 'TO', fallbacks)
  moves('Answered at another price', 'MEANT FOR', 'ANSWERED BY', billingChanges)
  return parts.join('\n\n')
}
