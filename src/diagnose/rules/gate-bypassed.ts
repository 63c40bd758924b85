import { ATTR_GATE_SEEN, ATTR_POLICY } from '../../../otel/semconv.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded, judgeShape, supported } from '../hypotheses.ts'
import { isRefusedAsUsed } from '../lost-answers.ts'
import { comparedShapes } from '../request-shapes.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const ASK_THE_GATE = 'Let the caller named here ask the gate for a token (acquireToken) instead of the token endpoint.'
const SET_A_POLICY =
  'Until it does, set the policy to enforce: the request is refused before it leaves, and says where to go. A watched process can be given coalesce instead: it shares the answer.'
const SIGN_IN = 'Where the login is dead by now, sign in again after that.'
const CHECK_THE_NAME =
  'The process that sent it had not seen the declared gate before: if its refreshes do come through a gate, look for the name that it has there (`gatewatch refreshes --stack`) and declare that one.'

/** Somebody refreshes past the gate; what he gets, no other caller knows of. */
export const gateBypassed: Rule = {
  kind: 'gate_bypassed',
  severity: 'warning',
  title: 'A token request went past the gate',
  symptom: 'Refreshes fail with "already used" although everything that is known to refresh goes through the gate.',
  detectedBy: 'a token request without a permit, or without a frame of the declared gate on its stack; its file and line',
  remedy: [ASK_THE_GATE, SET_A_POLICY, SIGN_IN],
  explains: ['refresh_refused', 'refresh_failing', 'rotated_token_replayed'],
  detect: evidence => {
    const bypasses = evidence.refreshes.filter(({ via }) => via === 'bypass')
    const groups = Map.groupBy(bypasses, ({ profile, provider }) => profile ?? provider ?? '')
    return [...groups.values()].map(group => report(evidence, group))
  },
}

function report(evidence: Evidence, bypasses: readonly InputSpan[]): FindingDraft {
  const victims = victimsOf(evidence, bypasses)
  const [victim] = victims
  const rotated = bypasses.filter(({ outcome }) => outcome === 'rotated')
  const [offender = bypasses[0]] = rotated
  const harmed = victims.length > 0
  const stopped = bypasses.filter(({ outcome }) => outcome === 'blocked').length
  return findingDraft(gateBypassed, evidence, {
    about: [...bypasses, ...victims].sort((a, b) => a.startMs - b.startMs),
    callers: bypasses,
    ...(harmed && { severity: 'grant_dead', title: 'A token request past the gate has used up the refresh token of the gate' }),
    ...(stopped === bypasses.length && { title: 'A token request past the gate was stopped' }),
    remedy: remedyFor(bypasses, harmed),
    what: `${times(bypasses.length, 'token request')} past the gate by ${offender?.caller}${offender?.place ? ` (${offender.place})` : ''}, ${rotated.length} of them rotated the token${stopped > 0 ? `, ${stopped} of them were stopped` : ''}${harmed ? `; ${times(victims.length, 'refresh')} through the gate then sent the token that was used up (${victim?.providerCode ?? victim?.outcome})` : ''}.`,
    confidence: 'certain',
    ...(victim && { summarizeRequest: victim }),
    hypotheses: [
      supported('another_caller', `${offender?.caller} asks the token endpoint itself`),
      ...(harmed
        ? [excluded('token_rejected', `the endpoint took the refresh token ${victim?.sent} from the bypass, and refuses it since`)]
        : []),
      ...(victim && isRefusedAsUsed(victim)
        ? [excluded('request_shape', `the endpoint read the request and knows its token: ${victim.providerCode ?? victim.outcome}`)]
        : judgeShape(comparedShapes(evidence, victim))),
    ],
  })
}

/** A policy that is on by now is not advised; where nothing but refused requests are seen, no login has been harmed by them. */
function remedyFor(bypasses: readonly InputSpan[], harmed: boolean): string[] {
  const policy = bypasses.at(-1)?.text(ATTR_POLICY)
  const isObserved = policy === undefined || policy === 'observe'
  const wasSent = harmed || bypasses.some(({ outcome }) => outcome !== 'blocked')
  const isUnseen = bypasses.some(bypass => bypass.flag(ATTR_GATE_SEEN) === false)
  return [
    ASK_THE_GATE,
    ...(isObserved && wasSent ? [SET_A_POLICY] : []),
    ...(isUnseen ? [CHECK_THE_NAME] : []),
    ...(wasSent ? [SIGN_IN] : []),
  ]
}

/** Refreshes through the gate that were refused because a bypass had used their token up. */
function victimsOf(evidence: Evidence, bypasses: readonly InputSpan[]): InputSpan[] {
  const known = new Set(bypasses)
  return evidence.refreshes.filter(refresh => {
    if (!refresh.isError || refresh.via === 'bypass') return false
    const rotation = evidence.rotationOf(refresh)
    return rotation !== undefined && known.has(rotation)
  })
}
