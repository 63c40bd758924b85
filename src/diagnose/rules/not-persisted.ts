import { ATTR_ERROR_TYPE, ATTR_NEXT, EVENT_PERSISTED } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import { byProfile, type Evidence, type InputSpan, isSameProcess } from '../evidence.ts'
import { excluded, supported } from '../hypotheses.ts'
import { isRefusedAsUsed } from '../lost-answers.ts'
import { callerText, capitalized, processOf } from '../messages.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const ADVICE: Readonly<Record<string, string>> = {
  free_disk_space: 'Free disk space where the profile store lies; the gateway tries again every few seconds.',
  fix_permissions:
    'Give the user of the gateway the right to write the profile store and its folder; the gateway tries again every few seconds.',
}

/** A rotated token lives in the memory of one process only. */
export const notPersisted: Rule = {
  kind: 'not_persisted',
  severity: 'divergence',
  title: 'A rotated token could not be stored: it lives in the memory of one process',
  symptom:
    'Everything works until the process is restarted; then the login is dead. Other processes with the same store are refused at once.',
  detectedBy:
    'the outcome not_persisted: an answer with a new token, and no event that it was stored; or refreshes that were not begun since the store cannot be written',
  remedy: [
    'Do not restart or stop the process named here before the store can be written again: it holds the only copy of the token.',
    'Free disk space, or give the user of the gateway the right to write the profile store; the gateway tries again every few seconds.',
    'If it was restarted already, sign in again.',
  ],
  explains: ['refresh_failing', 'refresh_refused', 'rotated_token_replayed', 'crash_before_persist'],
  detect: evidence => {
    const failed = evidence.gateRefreshes.filter(refreshRun => isUnstored(refreshRun) || isNotBegun(refreshRun))
    const forgotten = evidence.refreshes.filter(refresh => rotationByItself(evidence, refresh) !== undefined)
    return [
      ...[...byProfile(failed).values()].map(group => report(evidence, group)),
      ...[...Map.groupBy(forgotten, ({ profile, provider }) => profile ?? provider ?? '').values()].map(group =>
        reportForgotten(evidence, group),
      ),
    ]
  },
}

function isUnstored(refreshRun: InputSpan): boolean {
  return refreshRun.outcome === 'not_persisted'
}

function isNotBegun(refreshRun: InputSpan): boolean {
  return refreshRun.outcome === 'unavailable' && refreshRun.sent === undefined && refreshRun.text(ATTR_ERROR_TYPE) === 'GW_STORE_UNWRITABLE'
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const unstored = about.filter(isUnstored)
  const [first] = unstored
  if (!first)
    return findingDraft(notPersisted, evidence, {
      about,
      severity: 'warning',
      title: 'The profile store cannot be written: no token is refreshed',
      what: `${times(about.length, 'refresh')} not begun, since what came back could not have been stored. Calls go on until the access token expires.`,
      remedy: [
        'Free disk space, or give the user of the gateway the right to write the profile store. Nothing is lost yet, and no sign-in is needed.',
      ],
      confidence: 'certain',
    })
  const victims = unstored.flatMap(refreshRun =>
    evidence.sendersOf(refreshRun.sent).filter(other => other.startMs > refreshRun.startMs && isRefusedAsUsed(other)),
  )
  const [victim] = victims
  const storedLater = evidence.gateRefreshes.some(
    refreshRun => refreshRun.profile === first.profile && refreshRun.startMs > first.endMs && refreshRun.hasEvent(EVENT_PERSISTED),
  )
  const advice = ADVICE[unstored.at(-1)?.text(ATTR_NEXT) ?? '']
  const [wait = '', , again = ''] = notPersisted.remedy
  return findingDraft(notPersisted, evidence, {
    about: [...about, ...victims].sort((a, b) => a.startMs - b.startMs),
    callers: unstored,
    ...(victim && { severity: 'grant_dead', title: 'A rotated token was never stored, and the old one was sent again' }),
    what: `${times(unstored.length, 'rotation')} by ${processOf(first)}, for ${callerText(first)}, could not be stored${victim ? `; ${processOf(victim)} read the old token from the store and was refused (${victim.providerCode ?? victim.outcome})` : storedLater ? '; a later one could' : '; the token is lost when that process ends'}.`,
    ...(advice !== undefined && { remedy: [wait, advice, again] }),
    confidence: 'certain',
  })
}

/** The rotation by the very process that now sends the old token again: what it got then was not kept, or not shared. */
function rotationByItself(evidence: Evidence, refresh: InputSpan): InputSpan | undefined {
  if (!isRefusedAsUsed(refresh) || refresh.via === 'bypass') return undefined
  const rotation = evidence.rotationOf(refresh)
  return rotation && rotation.via !== 'bypass' && isSameProcess(rotation, refresh) ? rotation : undefined
}

function reportForgotten(evidence: Evidence, refused: readonly InputSpan[]): FindingDraft {
  const rotations = [...new Set(refused.flatMap(refresh => rotationByItself(evidence, refresh) ?? []))]
  const [[first], [rotation]] = [refused, rotations]
  const isOneCaller = first?.caller === rotation?.caller
  return findingDraft(notPersisted, evidence, {
    about: [...rotations, ...refused].sort((a, b) => a.startMs - b.startMs),
    callers: [...rotations, ...refused],
    ...(isOneCaller && { severity: 'grant_dead' }),
    title: 'A process got a new refresh token and sent the old one again',
    what: `${rotation ? capitalized(processOf(rotation)) : ''} rotated the refresh token ${first?.sent} for ${rotation ? callerText(rotation) : ''}; ${durationOf((first?.startMs ?? 0) - (rotation?.endMs ?? 0))} later it sent the same token${isOneCaller ? ' again: what it got was not kept' : ` for ${first ? callerText(first) : ''}, which does not know what the other one got`}. ${first?.providerCode ?? first?.outcome} was the answer, ${times(refused.length, 'time')}.`,
    remedy: [
      isOneCaller
        ? 'Look at what the caller named here does with the answer: could it read it, did it store it before it used it, did the write fail?'
        : 'Let both callers named here share one credential, or acquisition one gate: now each has a copy of its own.',
      'If no part of the process holds the newest token, sign in again, but mend this first: it would happen to the next login too.',
    ],
    confidence: 'certain',
    hypotheses: [
      excluded('token_rejected', 'the endpoint took this very token before, from the same process'),
      ...(isOneCaller ? [] : [supported('another_caller', `${rotation?.caller} used the token up, ${first?.caller} sent it again`)]),
    ],
  })
}
