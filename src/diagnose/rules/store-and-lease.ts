import { durationOf } from '../../domain/duration-text.ts'
import type { AcquireEvent, TokenRequestEvent } from '../../domain/events.ts'
import {
  begunBetween,
  byLogin,
  byProfile,
  type Evidence,
  endMsOf,
  type Group,
  greatest,
  grouped,
  hasStep,
  isFailedRefresh,
  isSameProcess,
  least,
} from '../evidence.ts'
import { answerText, callerText, capitalized, isoTime, processName, times } from '../messages.ts'
import { type Detected, excluded, type Rule, supported } from '../rule.ts'
import { isRefusedAsUsed } from './lost-answers.ts'

const WORKED: ReadonlySet<string | undefined> = new Set(['rotated', 'renewed', 'reused', 'not_persisted'])
/** A forced refresh this soon after an acquisition that timed out is the same request, repeated. */
const REPEATED_WITHIN_MS = 10 * 60_000
/** A refresh that fails faster did not wait. */
const WAITED_MS = 250
/** One or two waits in vain happen without a fault. */
const FEWEST_WAITS = 3

const KEEP_RUNNING = 'Do not stop or restart the process named here until the store is writable again: it holds the only copy of the token.'
const SIGN_IN_IF_RESTARTED = 'If it was restarted already, sign in again.'
const STORE_ADVICE: Readonly<Record<string, string>> = {
  free_disk_space: 'Free disk space for the profile store; the gateway retries every few seconds.',
  fix_permissions: 'Give the user of the gateway write access to the profile store and its folder; the gateway retries every few seconds.',
}

/** Storing a token, and waiting for another refresh: failures between the token endpoint and the caller. */
export const STORE_AND_LEASE_RULES: readonly Rule[] = [
  {
    kind: 'not_persisted',
    severity: 'divergence',
    title: 'A rotated token could not be stored: only one process has it, in memory',
    symptom: 'Calls work until the process is restarted; then the login is dead. Other processes with the same store are refused at once.',
    detectedBy:
      'the outcome not_persisted: a new token was received and not stored; or refreshes that did not start because the store is not writable',
    remedy: [
      KEEP_RUNNING,
      'Free disk space, or give the user of the gateway write access to the profile store; the gateway retries every few seconds.',
      SIGN_IN_IF_RESTARTED,
    ],
    explains: ['refresh_failing', 'refresh_refused', 'rotated_token_replayed', 'crash_before_persist'],
    detect: evidence => [
      ...byProfile(evidence.gateRefreshes.filter(refresh => isUnstored(refresh) || isNotBegun(refresh))).map(group =>
        group.some(isUnstored) ? unstored(evidence, group) : notBegun(group),
      ),
      ...byLogin(evidence.refreshes.filter(refresh => ownRotation(evidence, refresh) !== undefined)).map(group =>
        forgotten(evidence, group),
      ),
    ],
  },
  {
    kind: 'callback_deadline',
    severity: 'warning',
    title: 'A caller stops waiting before its refresh is done',
    symptom:
      'An app-server reports a time-out of its token callback after ten seconds; the login works, and the next turn refreshes again.',
    detectedBy: 'an acquisition that timed out, linked to a refresh that succeeded afterwards',
    remedy: [
      'No sign-in is needed: the refresh succeeded, only too late for this caller.',
      'Let the caller wait longer than the token endpoint takes, or ask again: it then gets the new token.',
      'Refresh ahead of time: a timer that acquires a token at the gate with the reason scheduled keeps a fresh one ready for the callback.',
      'If the caller forces a refresh each time, leave gate.forced at "reuse": asking again must not rotate again.',
    ],
    explains: ['refresh_failing'],
    detect: evidence => {
      const late = evidence.acquisitions.flatMap(acquisition => lateRefreshOf(evidence, acquisition) ?? [])
      return grouped(late, ({ acquisition: { caller, profile } }) => `${caller.label} ${profile}`).map(group =>
        stoppedWaiting(evidence, group),
      )
    },
  },
  {
    kind: 'lease_contention',
    severity: 'divergence',
    title: 'Refreshes wait in vain: another process holds the lease of the profile',
    symptom: 'Calls fail or hang in one process while another one refreshes; the token endpoint receives no request of the first.',
    detectedBy: 'the outcome contention: the lease was not granted, or lost, and nothing was sent; the process that held it',
    remedy: [
      'Check the process named here as the holder: if it hangs, end it. The lease of a dead process is free at once.',
      'If it waits for a slow token endpoint, set gate.leaseWaitMs above gate.requestTimeoutMs: waiting refreshes then get its token.',
      'No sign-in is needed: nothing was sent, the login is unchanged.',
    ],
    explains: ['refresh_failing'],
    detect: evidence =>
      byProfile(evidence.gateRefreshes.filter(({ outcome }) => outcome === 'contention')).map(group => starved(evidence, group)),
  },
  {
    kind: 'claim_orphaned',
    severity: 'storm',
    title: 'Every caller waits for a refresh that is claimed and never made',
    symptom: 'Every turn hangs for the same time and fails; nothing arrives at the token endpoint.',
    detectedBy: 'refresh after refresh that waits and ends without a single token request, and none that worked since',
    remedy: [
      'Find the claim of this profile (a lock file, row or fence of the application) and check whether the process that made it is alive.',
      'If it is dead, remove the claim and let one caller refresh. The token may have been sent before the process died: if it is refused as "already used", sign in again.',
      'Give each claim a process id and an expiry, or use a lease that can be taken from a dead holder.',
    ],
    explains: ['refresh_failing'],
    detect: evidence => byProfile(evidence.refreshes).flatMap(waitedInVain),
  },
]

function isUnstored({ outcome }: TokenRequestEvent): boolean {
  return outcome === 'not_persisted'
}

function isNotBegun({ outcome, errorType, refreshFingerprintBefore }: TokenRequestEvent): boolean {
  return outcome === 'unavailable' && refreshFingerprintBefore === undefined && errorType === 'GW_STORE_UNWRITABLE'
}

function notBegun(about: Group<TokenRequestEvent>): Detected {
  return {
    about,
    severity: 'warning',
    title: 'The profile store is not writable: no token is refreshed',
    what: `${times(about.length, 'refresh')} not begun, since a new token could not have been stored. Calls work until the access token expires.`,
    remedy: [
      'Free disk space, or give the user of the gateway write access to the profile store. Nothing is lost yet, and no sign-in is needed.',
    ],
  }
}

function unstored(evidence: Evidence, about: Group<TokenRequestEvent>): Detected {
  const rotations = about.filter(isUnstored)
  const [first = about[0]] = rotations
  const victims = rotations.flatMap(({ refreshFingerprintBefore, startMs }) =>
    evidence.sendersOf(refreshFingerprintBefore).filter(other => other.startMs > startMs && isRefusedAsUsed(other)),
  )
  const [victim] = victims
  const storedLater = evidence.gateRefreshes.some(
    refresh => refresh.profile === first.profile && refresh.startMs > endMsOf(first) && hasStep(refresh, 'persisted'),
  )
  const advice = STORE_ADVICE[rotations.at(-1)?.next ?? '']
  const outlook = storedLater ? '; a later one could' : '; the token is lost when that process ends'
  return {
    about: [...about, ...victims],
    callers: rotations,
    severity: victim && 'grant_dead',
    title: victim && 'A rotated token was never stored, and the old one was sent again',
    what: `${times(rotations.length, 'rotation')} by ${processName(first)}, for ${callerText(first)}, could not be stored${victim ? `; ${processName(victim)} read the old token from the store and was refused (${answerText(victim)})` : outlook}.`,
    remedy: advice === undefined ? undefined : [KEEP_RUNNING, advice, SIGN_IN_IF_RESTARTED],
  }
}

/** The rotation by the process that now sends the old token again: it did not keep or share the new one. */
function ownRotation(evidence: Evidence, refresh: TokenRequestEvent): TokenRequestEvent | undefined {
  if (!isRefusedAsUsed(refresh) || refresh.via === 'bypass') return undefined
  const rotation = evidence.rotationOf(refresh)
  return rotation && rotation.via !== 'bypass' && isSameProcess(rotation, refresh) ? rotation : undefined
}

function forgotten(evidence: Evidence, refused: Group<TokenRequestEvent>): Detected {
  const [first] = refused
  const rotations = [...new Set(refused.flatMap(refresh => ownRotation(evidence, refresh) ?? []))]
  const [rotation = first] = rotations
  const isOneCaller = first.caller.label === rotation.caller.label
  return {
    about: [...rotations, ...refused],
    callers: [...rotations, ...refused],
    severity: isOneCaller ? 'grant_dead' : undefined,
    title: 'A process got a new refresh token and sent the old one again',
    what: `${capitalized(processName(rotation))} rotated the refresh token ${first.refreshFingerprintBefore} for ${callerText(rotation)}; ${durationOf(first.startMs - endMsOf(rotation))} later it sent the same token${isOneCaller ? ' again: what it got was not kept' : ` for ${callerText(first)}, which does not know what the other one got`}. ${answerText(first)} was the answer, ${times(refused.length, 'time')}.`,
    remedy: [
      isOneCaller
        ? 'Check what the caller named here does with the answer: can it read it, does it store it before it uses it, did the write fail?'
        : 'Let both callers named here share one credential, or acquire it from one gate: now each has a copy of its own.',
      'Fix this first: it would happen to the next login too. Then sign in again if no part of the process holds the newest token.',
    ],
    hypotheses: [
      excluded('token_rejected', 'the endpoint accepted this token before, from the same process'),
      ...(isOneCaller
        ? []
        : [supported('another_caller', `${rotation.caller.label} used the token up, ${first.caller.label} sent it again`)]),
    ],
  }
}

interface LateRefresh {
  readonly acquisition: AcquireEvent
  readonly refresh: TokenRequestEvent
}

/** The refresh that an acquisition did not wait for, where it succeeded afterwards. */
function lateRefreshOf(evidence: Evidence, acquisition: AcquireEvent): LateRefresh | undefined {
  if (!acquisition.isError || acquisition.errorType !== 'GW_ACQUIRE_TIMEOUT') return undefined
  const refresh = acquisition.links.map(({ spanId }) => evidence.byId(spanId)).find(linked => linked?.kind === 'token_request')
  return refresh && WORKED.has(refresh.outcome) && endMsOf(refresh) > endMsOf(acquisition) ? { acquisition, refresh } : undefined
}

function stoppedWaiting(evidence: Evidence, late: Group<LateRefresh>): Detected {
  const acquisitions = late.map(({ acquisition }) => acquisition)
  const [{ acquisition: first }] = late
  const waitedMs = greatest(acquisitions.map(({ durationMs }) => durationMs))
  const neededMs = greatest(late.map(({ acquisition, refresh }) => endMsOf(refresh) - acquisition.startMs))
  const endsMs = late.map(({ refresh }) => endMsOf(refresh))
  const again = begunBetween(evidence.refreshes, least(endsMs), greatest(endsMs) + REPEATED_WITHIN_MS).filter(
    ({ reason, caller, profile }) => reason === 'forced' && caller.label === first.caller.label && profile === first.profile,
  )
  return {
    about: [...acquisitions, ...again],
    callers: acquisitions,
    what: `${times(acquisitions.length, 'acquisition')} by ${callerText(first)} gave up after ${durationOf(waitedMs)}; the refresh worked and took ${durationOf(neededMs)}${again.length > 0 ? `. The caller then forced ${times(again.length, 'further refresh')} of a token that was good` : ''}.`,
  }
}

function starved(evidence: Evidence, about: Group<TokenRequestEvent>): Detected {
  const [first] = about
  const last = about.findLast(({ leaseHolder }) => leaseHolder !== undefined)
  const lost = about.filter(refresh => hasStep(refresh, 'lease_lost')).length
  const pids = [...new Set(about.map(({ leaseHolder }) => leaseHolder))].filter(pid => pid !== undefined)
  const holding = last && evidence.gateRefreshes.find(refresh => isHeldBy(last, refresh))
  const longestMs = greatest(about.map(({ durationMs }) => durationMs))
  const isKnown = pids.length > 0 || lost > 0
  return {
    about,
    what: `${times(about.length, 'refresh')} by ${processName(first)}, for ${callerText(first)}, got no lease within ${durationOf(longestMs)} and ended with nothing sent; ${pids.length === 0 ? 'a process that is not known' : `process ${pids.join(', ')}`} held it${holding ? `: its refresh, for ${callerText(holding)}, took ${durationOf(holding.durationMs)} (${holding.outcome})` : ', and no refresh of it was recorded: it may hang, or it is not watched'}${lost > 0 ? `. ${times(lost, 'lease')} taken away from a process that was silent for too long` : ''}.`,
    surerBy: isKnown ? undefined : 'the process id of the holder, which the store did not know at that time',
  }
}

/** A refresh in the process that held the lease, at the time when the other one waited for it. */
function isHeldBy(waiting: TokenRequestEvent, refresh: TokenRequestEvent): boolean {
  return (
    refresh !== waiting &&
    refresh.profile === waiting.profile &&
    refresh.startMs < endMsOf(waiting) &&
    endMsOf(refresh) > waiting.startMs &&
    refresh.process !== undefined &&
    String(refresh.process.pid) === waiting.leaseHolder
  )
}

function waitedInVain(group: Group<TokenRequestEvent>): Detected[] {
  const lastGood = group.findLast(refresh => !isFailedRefresh(refresh))
  const since = group.filter(({ startMs }) => startMs > (lastGood?.startMs ?? 0))
  const about = since.filter(({ isError, tokenRequests, durationMs }) => isError && tokenRequests === 0 && durationMs >= WAITED_MS)
  if (about.length < FEWEST_WAITS) return []
  const waits = about.map(({ durationMs }) => (durationMs / 1000).toFixed(1)).sort((a, b) => Number(a) - Number(b))
  const range = [...new Set([waits[0], waits.at(-1)])].join(' to ')
  const errors = [...new Set(about.flatMap(({ errorType }) => errorType ?? []))].join(', ')
  const isUnasked = since.every(({ httpStatus }) => httpStatus === undefined)
  return [
    {
      about,
      what: `${times(about.length, 'refresh')} waited ${range} s and gave up (${errors}) without one token request; ${lastGood ? `the last refresh that worked was at ${isoTime(lastGood.startMs)}` : 'none was seen to work before'}${isUnasked ? ', and no caller has asked the token endpoint since' : ''}.`,
      surerBy: 'the claim itself: which process made it, when, and whether that process is alive',
      hypotheses: [
        excluded('token_rejected', 'no token was sent, so none can have been rejected'),
        excluded('request_shape', 'no request was sent'),
      ],
    },
  ]
}
