import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded, judgeShape, supported } from '../hypotheses.ts'
import { comparedShapes } from '../request-shapes.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** An old token is sent once too often: the provider ends the whole login, the newest token included. */
export const familyKilledByReplay: Rule = {
  kind: 'family_killed_by_replay',
  severity: 'grant_dead',
  title: 'A replay of an old refresh token has ended the whole login',
  symptom: 'A login that was fine a moment ago is dead everywhere: 401 refresh_token_invalidated, even for the newest token.',
  detectedBy: 'a token that was never used before is refused, after one of its forerunners had been sent again',
  remedy: [
    'Stop the caller that replays first: it would end the next login as well.',
    'Then sign in again, once.',
    'Let all processes read one credential store under one lock, or give each a login of its own.',
  ],
  explains: ['refresh_refused', 'rotated_token_replayed'],
  detect: evidence => {
    const dead = evidence.refreshes.filter(refresh => isUnusedAndRefused(evidence, refresh))
    const groups = Map.groupBy(dead, ({ profile, provider }) => profile ?? provider ?? '')
    return [...groups.values()].flatMap(victims => report(evidence, victims) ?? [])
  },
}

/** A token that came from a rotation, was refused, and that nobody had rotated before. */
function isUnusedAndRefused(evidence: Evidence, refresh: InputSpan): boolean {
  return (
    refresh.isError && refresh.outcome === 'invalidated' && evidence.issuerOf(refresh.sent) !== undefined && !evidence.rotationOf(refresh)
  )
}

/** Forerunners of a token that are looked at; a replay of an older one is a rare thing. */
const MOST_FORERUNNERS = 50

/** The rotations that led to the token this refresh sent, the latest first. */
function forerunnersOf(evidence: Evidence, refresh: InputSpan): InputSpan[] {
  const chain: InputSpan[] = []
  for (let issuer = evidence.issuerOf(refresh.sent); issuer && chain.length < MOST_FORERUNNERS; issuer = evidence.issuerOf(issuer.sent))
    chain.push(issuer)
  return chain
}

/** Requests that sent a forerunner once more, before the token itself was refused. */
function replaysBefore(evidence: Evidence, victim: InputSpan): InputSpan[] {
  return forerunnersOf(evidence, victim).flatMap(rotation =>
    evidence.sendersOf(rotation.sent).filter(({ startMs }) => startMs > rotation.startMs && startMs < victim.startMs),
  )
}

function report(evidence: Evidence, refused: readonly InputSpan[]): FindingDraft | undefined {
  const victims = refused.filter(victim => replaysBefore(evidence, victim).length > 0)
  const [victim] = victims
  if (!victim) return undefined
  const replays = [...new Set(victims.flatMap(one => replaysBefore(evidence, one)))].sort((a, b) => a.startMs - b.startMs)
  const rotations = new Set(replays.flatMap(replay => evidence.rotationOf(replay) ?? []))
  const deadly = replays.at(-1)
  if (!deadly) return undefined
  const process = deadly.process ? ` in process ${deadly.process.pid}` : ''
  return findingDraft(familyKilledByReplay, evidence, {
    about: [...rotations, ...replays, ...victims].sort((a, b) => a.startMs - b.startMs),
    callers: replays,
    summarizeRequest: victim,
    what: `${times(replays.length, 'request')} with a token that had been rotated away, the last by ${deadly.caller}${process}; since then the newest token is refused too (${victim.providerCode ?? victim.outcome}), ${times(victims.length, 'time')}.`,
    confidence: 'certain',
    hypotheses: [
      supported('another_caller', `${deadly.caller}${process} sent a token that was rotated away`),
      excluded(
        'token_rejected',
        'the refused token was fresh from a rotation; the endpoint refuses it for what happened to its forerunner',
      ),
      ...judgeShape(comparedShapes(evidence, victim)),
    ],
  })
}
