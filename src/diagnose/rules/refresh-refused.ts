import { ATTR_PERMANENT, ATTR_REPLAY } from '../../../otel/semconv.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import type { ShapeComparison } from '../finding.ts'
import { judgeShape, supported } from '../hypotheses.ts'
import { comparedShapes } from '../request-shapes.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const UNSEEN_REMEDY = [
  'Find out who else has this login: another machine, a container, a CLI, a desktop application; the time above says when it was late.',
  'Watch it as well (gatewatch run), or give it a login of its own.',
  'Then sign in again here.',
]

/** The provider speaks of the refresh token: only another one helps. */
const TOKEN_REFUSED = {
  title: 'The token endpoint refuses the refresh token: the login has ended',
  remedy: [
    'Sign in again: gatewatch profiles login, or the login of the application.',
    'If the refresh after that is refused as well, look at the request: what is different from the last one that worked?',
  ],
}

const INTERACTION = {
  title: 'The provider requires a sign-in: a second factor, consent or an account is asked for',
  remedy: [
    'Sign in again and answer what the provider asks: gatewatch profiles login, or the login of the application.',
    'If it asks again and again, look at the policy of the account (conditional access, session length, consent of the administrator).',
  ],
}

/** The token endpoint refuses for good, and nothing narrower says why. */
export const refreshRefused: Rule = {
  kind: 'refresh_refused',
  severity: 'grant_dead',
  title: 'The token endpoint refuses the refresh for good',
  symptom: 'A profile cannot be refreshed any more; its calls fail, or another profile serves them.',
  detectedBy: 'a permanent outcome of a refresh that no other rule can explain',
  remedy: [
    'Look at the code of the provider and at the request: what is different from the last one that worked?',
    'Sign in again; the refresh right after that shows whether the login or the request is at fault.',
  ],
  detect: evidence => {
    // A refresh that found the grant dead already was refused nothing: it sent nothing.
    const refused = evidence.refreshes.filter(
      refresh => refresh.isError && refresh.flag(ATTR_PERMANENT) === true && refresh.outcome !== 'needs_login',
    )
    return [...Map.groupBy(refused, ({ profile, provider }) => profile ?? provider ?? '').values()].map(group => report(evidence, group))
  },
}

/** The provider says itself that another request has used the token up. */
function isUsedUp(refresh: InputSpan): boolean {
  return refresh.flag(ATTR_REPLAY) === true || /reused|already_used/.test(refresh.providerCode ?? '')
}

/** Where the request looks as the last one that worked did, or none was seen before, the token is what was refused. */
function isTokenRefused(about: readonly InputSpan[], shape: ShapeComparison | undefined): boolean {
  return about.every(({ outcome }) => outcome === 'invalidated') && (shape?.differences ?? []).length === 0
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const last = about.at(-1)
  const shape = comparedShapes(evidence, last)
  const usedUp = about.filter(refresh => isUsedUp(refresh) && !evidence.rotationOf(refresh))
  const unseen = usedUp.length > 0
  const looksAlike = shape?.lastGood !== undefined && shape.differences.length === 0
  return findingDraft(refreshRefused, evidence, {
    about,
    ...(about.every(({ outcome }) => outcome === 'interaction_required') && INTERACTION),
    ...(isTokenRefused(about, shape) && TOKEN_REFUSED),
    ...(unseen && { title: 'The refresh token was used up by a caller that is not recorded', remedy: UNSEEN_REMEDY }),
    what: `${times(about.length, 'refresh')} refused for good: ${last?.status ?? 'no answer'} ${last?.providerCode ?? last?.outcome ?? ''}${unseen ? `; ${usedUp.length} of them sent a token that had been used before, and nobody who is recorded here used it` : ''}.`,
    confidence: unseen ? 'likely' : 'possible',
    surerBy: 'watching every process that has this login: gatewatch run, with --gate or --preset',
    hypotheses: [
      ...(unseen ? [supported('another_caller', 'the token had been used already, by a process or a machine that is not watched')] : []),
      ...(looksAlike && !unseen
        ? [supported('token_rejected', 'the request looks like the last one that worked, and no other caller was seen to use its token')]
        : []),
      ...judgeShape(shape),
    ],
  })
}
