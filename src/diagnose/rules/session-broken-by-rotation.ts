import type { Evidence, InputSpan } from '../evidence.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const CODE = 'invalid_encrypted_content'
/** A conversation that was begun with the former token and goes on. */
const SINCE_MS = 60 * 60_000

/** What the provider encrypted into a conversation cannot be read any more. */
export const sessionBrokenByRotation: Rule = {
  kind: 'session_broken_by_rotation',
  severity: 'warning',
  title: 'Conversations that were begun before a rotation are refused after it',
  symptom: 'Running conversations end in 400 invalid_encrypted_content; new ones work.',
  detectedBy:
    "the provider's code on 400 from the API, after a rotation of the same profile or a change of profile, and calls beside them that work",
  remedy: [
    'Let the application drop the encrypted parts (reasoning) of the history when it sees this code, and send the turn again.',
    'Until it does, begin the conversation again.',
    'Keep one conversation on one profile and account: a change of either has the same effect.',
  ],
  detect: evidence => {
    const broken = evidence.attempts.filter(({ isError, providerCode }) => isError && providerCode === CODE)
    return [...Map.groupBy(broken, ({ profile, provider }) => profile ?? provider ?? '').values()].flatMap(
      group => report(evidence, group) ?? [],
    )
  },
}

function report(evidence: Evidence, group: readonly InputSpan[]): FindingDraft | undefined {
  const [first] = group
  if (!first) return undefined
  const isBefore = ({ startMs }: InputSpan) => startMs < first.startMs && startMs >= first.startMs - SINCE_MS
  const rotation = evidence.refreshes.findLast(span => !span.isError && span.profile === first.profile && isBefore(span))
  const former = evidence.attempts.findLast(
    span => span.isServed && span.caller === first.caller && span.profile !== first.profile && isBefore(span),
  )
  const cause = rotation ?? former
  if (!cause) return undefined
  const works = evidence.attempts.filter(
    ({ isServed, profile, startMs }) => isServed && profile === first.profile && startMs > first.startMs,
  )
  const secondsAfter = Math.max(0, Math.round((first.startMs - cause.endMs) / 1000))
  return findingDraft(sessionBrokenByRotation, evidence, {
    about: [cause, ...group],
    callers: group,
    what: `${times(group.length, 'call')} ended in ${first.status} ${CODE}, the first ${secondsAfter} s after ${rotation ? `${rotation.caller} had the token rotated (${rotation.reason})` : `its caller had used profile ${former?.profile}`}${works.length > 0 ? `; ${times(works.length, 'other call')} of the profile worked after that: login and token are good` : ''}.`,
    confidence: works.length > 0 ? 'likely' : 'possible',
    surerBy: 'an id of the conversation in the history of the application: did it begin before the rotation?',
  })
}
