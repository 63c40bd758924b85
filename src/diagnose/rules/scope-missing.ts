import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const CODES: ReadonlySet<string | undefined> = new Set(['missing_scope', 'insufficient_scope', 'invalid_scope'])

/** The login is alive and may not do what it is used for. */
export const scopeMissing: Rule = {
  kind: 'scope_missing',
  severity: 'warning',
  title: 'The login lacks a scope that is needed',
  symptom: 'Signing in or refreshing works, and every call ends in 401 or 403; or the sign-in page itself refuses.',
  detectedBy: "the provider's code (missing_scope, insufficient_scope; invalid_scope at the sign-in page), not the status",
  remedy: [
    'Do not refresh: a refresh never widens the scopes of a login.',
    'Sign in again with the scopes that the client asks for today (providers.<id>.scopes).',
    'Where the sign-in page says invalid_scope, the client id may not ask for one of them: compare with the scopes of its own client.',
  ],
  explains: ['rejected_while_valid', 'refresh_refused'],
  detect: evidence => {
    const all = [...evidence.attempts, ...evidence.refreshes, ...evidence.operations]
    const lacking = all.filter(({ isError, providerCode }) => isError && CODES.has(providerCode)).sort((a, b) => a.startMs - b.startMs)
    return [...Map.groupBy(lacking, ({ profile, provider }) => profile ?? provider ?? '').values()].map(about => report(evidence, about))
  },
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const isCall = new Set(evidence.attempts)
  const calls = about.filter(span => isCall.has(span)).length
  const others = about.length - calls
  const served = evidence.attempts.filter(
    ({ isServed, profile, startMs }) => isServed && profile === first?.profile && startMs >= (first?.startMs ?? 0),
  ).length
  const parts = [calls > 0 ? times(calls, 'call') : '', others > 0 ? `${times(others, 'request')} for tokens` : '']
    .filter(Boolean)
    .join(' and ')
  return findingDraft(scopeMissing, evidence, {
    about,
    what: `${parts} refused with ${first?.status ?? 'no status'} ${[...new Set(about.map(({ providerCode }) => providerCode))].join(', ')}; ${served > 0 ? `${times(served, 'other call')} of the profile went through: only a part of what it does needs the scope` : 'no call of the profile went through since'}.`,
    confidence: 'certain',
    hypotheses: [excluded('token_rejected', 'the token was recognized: what it may do is too little')],
  })
}
