import { ATTR_PERMANENT, ATTR_REPLAY, ATTR_TOKEN_AGE } from '../../../otel/semconv.ts'
import { byProfile, type Evidence, type InputSpan } from '../evidence.ts'
import { judgeShape, supported } from '../hypotheses.ts'
import { comparedShapes } from '../request-shapes.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** A login this young has been refreshed by nobody. */
const FRESH_SECONDS = 300

/** Reasons of a refresh that had to come. */
const DUE: ReadonlySet<string | undefined> = new Set(['expired', 'missing'])

/** The first refresh of a login that was just made is refused for good. */
export const freshLoginRejected: Rule = {
  kind: 'fresh_login_rejected',
  severity: 'grant_dead',
  title: 'The refresh token of a login that was just made is rejected',
  symptom: 'Right after signing in everything is refused again; signing in once more changes nothing.',
  detectedBy:
    'the age of the token in seconds, the first use of this refresh token while its access token had not ended, and a refusal for good',
  remedy: [
    'Do not refresh right after a login: the access token is good. Take the force away from the caller named here.',
    'Use the login without any refresh until its expiry; if the first refresh then works, the provider needs time after a login.',
    'If it is refused then as well, give the request id of the refusal to the provider: account, client id or scope are at fault.',
  ],
  explains: ['refresh_refused'],
  detect: evidence => {
    const fresh = evidence.refreshes.filter(refresh => isFirstOfFreshLogin(evidence, refresh))
    return [...byProfile(fresh).values()].map(group => report(evidence, group))
  },
}

function isFirstOfFreshLogin(evidence: Evidence, refresh: InputSpan): boolean {
  const { sent, isError, outcome } = refresh
  if (!isError || sent === undefined || refresh.flag(ATTR_PERMANENT) !== true) return false
  // Nothing was sent, or nothing that could be a token; or the provider says itself that the login is too old.
  if (outcome !== 'invalidated') return false
  // Its access token had ended, so that the refresh was due: not its haste is the cause.
  if (DUE.has(refresh.reason)) return false
  // It says that somebody has used the token, so it was good: by whom is another finding.
  if (refresh.flag(ATTR_REPLAY) === true || refresh.providerCode === 'refresh_token_reused') return false
  const age = refresh.number(ATTR_TOKEN_AGE)
  return age !== undefined && age <= FRESH_SECONDS && evidence.issuerOf(sent) === undefined && !evidence.rotationOf(refresh)
}

function report(evidence: Evidence, group: readonly InputSpan[]): FindingDraft {
  const [first] = group
  const known = new Set(group)
  const again = [...new Set(group.map(({ sent }) => sent))].flatMap(sent =>
    evidence.sendersOf(sent).filter(refresh => refresh.isError && !known.has(refresh)),
  )
  const forced = group.filter(({ reason }) => reason === 'forced' || reason === 'operator').length
  return findingDraft(freshLoginRejected, evidence, {
    about: [...group, ...again].sort((a, b) => a.startMs - b.startMs),
    ...(first && { summarizeRequest: first }),
    what: `${times(group.length, 'first refresh')} of a login ${first?.number(ATTR_TOKEN_AGE)} s old ended in ${first?.status} ${first?.providerCode ?? first?.outcome}${forced > 0 ? '; it was forced, the access token was still good' : ''}.`,
    confidence: 'likely',
    surerBy: 'watching every process that has this login: no other caller was seen to use the token, but one that is not watched may have',
    hypotheses: [
      supported('token_rejected', 'no caller had sent this refresh token before, and it is refused seconds after it was issued'),
      ...judgeShape(comparedShapes(evidence, first)),
    ],
  })
}
