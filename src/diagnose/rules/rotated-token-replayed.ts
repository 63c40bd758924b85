import { type Evidence, type InputSpan, isSameProcess } from '../evidence.ts'
import { excluded, supported } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** One process rotates a refresh token, another one that had read it before sends it again. */
export const rotatedTokenReplayed: Rule = {
  kind: 'rotated_token_replayed',
  severity: 'divergence',
  title: 'A process sends a refresh token that another process has already used up',
  symptom: 'One of several processes with the same login gets 401 from the token endpoint; the others go on working.',
  detectedBy: 'two processes sent a refresh token of the same fingerprint; the first got a new one for it, the second a refusal',
  remedy: [
    'Let all processes read one credential store under one lock, or give each a login of its own.',
    'Until then restart the process that was refused, so that it reads the newer token from the store.',
    'Do not let it try again: the provider ends the whole login after another replay.',
  ],
  explains: ['refresh_refused', 'refresh_failing'],
  detect: evidence => {
    const groups = Map.groupBy(replays(evidence), ({ profile, provider }) => profile ?? provider ?? '')
    return [...groups.values()].map(group => report(evidence, group))
  },
}

function replays(evidence: Evidence): InputSpan[] {
  return evidence.refreshes.filter(refresh => {
    if (!isVerdictOnToken(refresh) || refresh.via === 'bypass') return false
    const rotation = evidence.rotationOf(refresh)
    return rotation !== undefined && rotation.via !== 'bypass' && !isSameProcess(rotation, refresh)
  })
}

/** The provider spoke about the token: a 403 page or a 429 says nothing of it. */
function isVerdictOnToken({ isError, outcome }: InputSpan): boolean {
  return isError && (outcome === 'invalidated' || outcome === 'lost')
}

function report(evidence: Evidence, group: readonly InputSpan[]): FindingDraft {
  const [first] = group
  const rotations = new Set(group.flatMap(replay => evidence.rotationOf(replay) ?? []))
  const [rotation] = rotations
  const after = first && rotation ? Math.round((first.startMs - rotation.startMs) / 1000) : 0
  return findingDraft(rotatedTokenReplayed, evidence, {
    about: [...rotations, ...group].sort((a, b) => a.startMs - b.startMs),
    callers: group,
    what: `Process ${rotation?.process?.pid} rotated the refresh token ${first?.sent} and keeps the new one; process ${first?.process?.pid} sent the old one ${after} s later, and the answer was ${first?.providerCode ?? first?.outcome}.${group.length > 1 ? ` ${times(group.length, 'such request')} in all, with ${times(rotations.size, 'token')}.` : ''}`,
    confidence: 'certain',
    hypotheses: [
      excluded(
        'token_rejected',
        `the endpoint took this very token before (${rotation?.outcome}), and refused it only once it had been used`,
      ),
      supported('another_caller', `${rotation?.caller} in process ${rotation?.process?.pid} used the token up`),
      excluded('request_shape', `the endpoint read the request and knows its token: ${first?.providerCode ?? first?.outcome}`),
    ],
  })
}
