import type { TokenRequestEvent } from '../../domain/events.ts'
import { byLogin, callerPlace, type Evidence, type Group, inOrder, isSameProcess, lastOf } from '../evidence.ts'
import { answerText, times } from '../messages.ts'
import { type Detected, excluded, type Rule, shapeVerdicts, supported } from '../rule.ts'
import { isRefusedAsUsed } from './lost-answers.ts'

/** Issuers of a token that are followed back. */
const MOST_ANCESTORS = 50

const ASK_THE_GATE = 'Change the caller named here to ask the gate for a token (acquireToken) instead of the token endpoint.'
const SET_A_POLICY =
  'Until then, set the policy to enforce: the request is refused before it is sent, with an error that names the gate. In a watched process, coalesce shares the answer instead.'
const SIGN_IN = 'If the login is dead, sign in again after that.'
const CHECK_THE_NAME =
  'The process that sent it had not seen the declared gate before: if it refreshes through a gate, look up the name of its function (`gatewatch refreshes --stack`) and declare that.'

/** A refresh token that was rotated away is sent again: by another process, until the provider ends the login, or past the gate. */
export const REPLAY_RULES: readonly Rule[] = [
  {
    kind: 'rotated_token_replayed',
    severity: 'divergence',
    title: 'A process sends a refresh token that another process has already used up',
    symptom: 'One of several processes with the same login gets 401 from the token endpoint; the others go on working.',
    detectedBy: 'two processes sent a refresh token of the same fingerprint; the first got a new token for it, the second was refused',
    remedy: [
      'Let all processes use one credential store under one lock, or give each its own login.',
      'Until then, restart the process that was refused: it then reads the newer token from the store.',
      'Do not let it retry: the provider ends the whole login after another replay.',
    ],
    explains: ['refresh_refused', 'refresh_failing'],
    detect: evidence => byLogin(evidence.refreshes.filter(refresh => isReplay(evidence, refresh))).map(group => replayed(evidence, group)),
  },
  {
    kind: 'family_killed_by_replay',
    severity: 'grant_dead',
    title: 'A replay of an old refresh token has ended the whole login',
    symptom: 'A login that worked a moment ago is refused everywhere: 401 refresh_token_invalidated, even for the newest token.',
    detectedBy: 'a token that was never used before is refused after an older token of the same login was sent again',
    remedy: [
      'First stop the caller that replays: it would end the next login as well.',
      'Then sign in again.',
      'Let all processes use one credential store under one lock, or give each its own login.',
    ],
    explains: ['refresh_refused', 'rotated_token_replayed'],
    detect: evidence =>
      byLogin(evidence.refreshes.filter(refresh => isUnusedAndRefused(evidence, refresh))).flatMap(group => familyKilled(evidence, group)),
  },
  {
    kind: 'gate_bypassed',
    severity: 'warning',
    title: 'A token request went past the gate',
    symptom: 'Refreshes fail with "already used" although every known caller refreshes through the gate.',
    detectedBy: 'a token request without a permit of the gate, or without the declared gate on its stack; its file and line',
    remedy: [ASK_THE_GATE, SET_A_POLICY, SIGN_IN],
    explains: ['refresh_refused', 'refresh_failing', 'rotated_token_replayed'],
    detect: evidence => byLogin(evidence.refreshes.filter(({ via }) => via === 'bypass')).map(group => bypassed(evidence, group)),
  },
]

/** Another process had rotated the token away. A 403 page or a 429 does not speak of the token, and a bypass is another finding. */
function isReplay(evidence: Evidence, refresh: TokenRequestEvent): boolean {
  const { isError, outcome, via } = refresh
  if (!isError || (outcome !== 'invalidated' && outcome !== 'lost') || via === 'bypass') return false
  const rotation = evidence.rotationOf(refresh)
  return rotation !== undefined && rotation.via !== 'bypass' && !isSameProcess(rotation, refresh)
}

function replayed(evidence: Evidence, group: Group<TokenRequestEvent>): Detected {
  const [first] = group
  const rotations = new Set(group.flatMap(replay => evidence.rotationOf(replay) ?? []))
  const [rotation] = rotations
  const after = rotation ? Math.round((first.startMs - rotation.startMs) / 1000) : 0
  return {
    about: [...rotations, ...group],
    callers: group,
    what: `Process ${rotation?.process?.pid} rotated the refresh token ${first.refreshFingerprintBefore} and keeps the new one; process ${first.process?.pid} sent the old one ${after} s later, and the answer was ${answerText(first)}.${group.length > 1 ? ` ${times(group.length, 'such request')} in all, with ${times(rotations.size, 'token')}.` : ''}`,
    hypotheses: [
      excluded(
        'token_rejected',
        `the endpoint took this very token before (${rotation?.outcome}), and refused it only once it had been used`,
      ),
      supported('another_caller', `${rotation?.caller.label} in process ${rotation?.process?.pid} used the token up`),
      excluded('request_shape', `the endpoint read the request and knows its token: ${answerText(first)}`),
    ],
  }
}

/** The refused token came from a rotation, and no other request was seen to use it. */
function isUnusedAndRefused(evidence: Evidence, refresh: TokenRequestEvent): boolean {
  const { isError, outcome, refreshFingerprintBefore: sent } = refresh
  return isError && outcome === 'invalidated' && evidence.issuerOf(sent) !== undefined && !evidence.rotationOf(refresh)
}

function familyKilled(evidence: Evidence, refused: Group<TokenRequestEvent>): Detected[] {
  const victims = refused.filter(one => replaysBefore(evidence, one).length > 0)
  const [victim] = victims
  const replays = inOrder(new Set(victims.flatMap(one => replaysBefore(evidence, one))))
  const last = replays.at(-1)
  if (!victim || !last) return []
  const process = last.process ? ` in process ${last.process.pid}` : ''
  return [
    {
      about: [...new Set(replays.flatMap(replay => evidence.rotationOf(replay) ?? [])), ...replays, ...victims],
      callers: replays,
      request: victim,
      what: `${times(replays.length, 'request')} with a token that had been rotated away, the last by ${last.caller.label}${process}; since then the newest token is refused too (${answerText(victim)}), ${times(victims.length, 'time')}.`,
      hypotheses: [
        supported('another_caller', `${last.caller.label}${process} sent a token that was rotated away`),
        excluded(
          'token_rejected',
          'the refused token came from a rotation and was unused; the endpoint refuses it because an older one was replayed',
        ),
        ...shapeVerdicts(evidence, victim),
      ],
    },
  ]
}

/** Requests that sent an ancestor of a token again before the token itself was refused. */
function replaysBefore(evidence: Evidence, victim: TokenRequestEvent): TokenRequestEvent[] {
  return ancestorsOf(evidence, victim).flatMap(rotation =>
    evidence.sendersOf(rotation.refreshFingerprintBefore).filter(({ startMs }) => startMs > rotation.startMs && startMs < victim.startMs),
  )
}

/** The rotations that led to the token which a refresh sent, the latest first. */
function ancestorsOf(evidence: Evidence, { refreshFingerprintBefore: sent }: TokenRequestEvent): TokenRequestEvent[] {
  const chain: TokenRequestEvent[] = []
  let issuer = evidence.issuerOf(sent)
  for (; issuer && chain.length < MOST_ANCESTORS; issuer = evidence.issuerOf(issuer.refreshFingerprintBefore)) chain.push(issuer)
  return chain
}

function bypassed(evidence: Evidence, bypasses: Group<TokenRequestEvent>): Detected {
  const victims = victimsOf(evidence, bypasses)
  const [victim] = victims
  const rotated = bypasses.filter(({ outcome }) => outcome === 'rotated')
  const [offender = bypasses[0]] = rotated
  const place = callerPlace(offender)
  const stopped = bypasses.filter(({ outcome }) => outcome === 'blocked').length
  return {
    about: [...bypasses, ...victims],
    callers: bypasses,
    severity: victim && 'grant_dead',
    title:
      stopped === bypasses.length
        ? 'A token request past the gate was stopped'
        : victim && 'A token request past the gate has used up the refresh token of the gate',
    remedy: bypassRemedy(bypasses, victim !== undefined),
    what: `${times(bypasses.length, 'token request')} past the gate by ${offender.caller.label}${place ? ` (${place})` : ''}, ${rotated.length} of them rotated the token${stopped > 0 ? `, ${stopped} of them were stopped` : ''}${victim ? `; ${times(victims.length, 'refresh')} through the gate then sent the token that was used up (${answerText(victim)})` : ''}.`,
    request: victim,
    hypotheses: [
      supported('another_caller', `${offender.caller.label} calls the token endpoint directly`),
      ...(victim
        ? [
            excluded(
              'token_rejected',
              `the endpoint took the refresh token ${victim.refreshFingerprintBefore} from the bypass, and refuses it since`,
            ),
          ]
        : []),
      ...(victim && isRefusedAsUsed(victim)
        ? [excluded('request_shape', `the endpoint read the request and knows its token: ${answerText(victim)}`)]
        : shapeVerdicts(evidence, victim)),
    ],
  }
}

/** Does not advise a policy that is set already, nor a sign-in where every request was stopped: those harmed no login. */
function bypassRemedy(bypasses: Group<TokenRequestEvent>, harmed: boolean): string[] {
  const policy = lastOf(bypasses).policy ?? 'observe'
  const wasSent = harmed || bypasses.some(({ outcome }) => outcome !== 'blocked')
  return [
    ASK_THE_GATE,
    ...(policy === 'observe' && wasSent ? [SET_A_POLICY] : []),
    ...(bypasses.some(({ gateSeen }) => gateSeen === false) ? [CHECK_THE_NAME] : []),
    ...(wasSent ? [SIGN_IN] : []),
  ]
}

/** Refreshes through the gate that were refused because a bypass had used their token up. */
function victimsOf(evidence: Evidence, bypasses: Group<TokenRequestEvent>): TokenRequestEvent[] {
  const known = new Set(bypasses)
  return evidence.refreshes.filter(refresh => {
    if (!refresh.isError || refresh.via === 'bypass') return false
    const rotation = evidence.rotationOf(refresh)
    return rotation !== undefined && known.has(rotation)
  })
}
