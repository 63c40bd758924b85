import { ATTR_ACCOUNT_AFTER, ATTR_ACCOUNT_BEFORE } from '../../../otel/semconv.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** A refresh brings tokens of another caller's account. */
export const identityMismatch: Rule = {
  kind: 'identity_mismatch',
  severity: 'grant_dead',
  title: 'A refresh brought the tokens of another account',
  symptom: 'Since the last refresh calls are answered for another workspace, or refused with 403.',
  detectedBy: 'the fingerprint of the account in the answer, which is not the one that the profile belongs to',
  remedy: [
    'Find out which account it is: the person behind this login belongs to several workspaces, and the provider picks one.',
    'Sign in again with the account that the profile belongs to; the gate has not stored the other one.',
    'Give each account a profile of its own.',
  ],
  explains: ['refresh_refused'],
  detect: evidence => {
    const other = evidence.refreshes.filter(
      refresh => refresh.outcome === 'identity_mismatch' || refresh.text(ATTR_ACCOUNT_AFTER) !== undefined,
    )
    return [...Map.groupBy(other, ({ profile, provider }) => profile ?? provider ?? '').values()].map(about => report(evidence, about))
  },
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const accounts = `${first?.text(ATTR_ACCOUNT_BEFORE) ?? 'unknown'} to ${first?.text(ATTR_ACCOUNT_AFTER) ?? 'unknown'}`
  // Where no gate of ours stood in between, the tokens were taken as they came.
  const taken = about.filter(({ isError }) => !isError)
  return findingDraft(identityMismatch, evidence, {
    about,
    ...(taken.length > 0 && {
      severity: 'divergence',
      title: 'An application has taken the tokens of another account',
      remedy: [
        'Stop the process named here: what it does, it does for another account.',
        'Sign in again with the account that is meant; give each account a profile of its own.',
        'Let the application compare the account of an answer with the one it had.',
      ],
    }),
    what: `${times(about.length, 'answer')} of the token endpoint went from account ${accounts} (fingerprints); ${taken.length > 0 ? `the tokens were taken ${times(taken.length, 'time')}` : 'the tokens were refused, nothing of them is stored'}.`,
    confidence: 'certain',
    hypotheses: [excluded('token_rejected', 'the endpoint took the refresh token and answered with tokens')],
  })
}
