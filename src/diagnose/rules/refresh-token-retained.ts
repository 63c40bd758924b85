import { ATTR_REFRESH_RETAINED, ATTR_SHAPE_FIELDS } from '../../../otel/names.ts'
import { type Evidence, isSameProcess, type SeenSpan } from '../evidence.ts'
import { excluded, supported } from '../hypotheses.ts'
import { type Found, found, type Rule, times } from '../rule.ts'

/** What stands for a refresh token that somebody does not have any more. */
const NOTHING = /(?:^| )refresh_token=(?:literal:\w+|null|object|empty|absent)(?: |$)/

/** An answer holds an access token alone. The old refresh token lives on, and somebody does not know. */
export const refreshTokenRetained: Rule = {
  kind: 'refresh_token_retained',
  harm: 'grant_dead',
  title: 'An answer without a refresh token has cost the refresh token that was there',
  symptom: 'One refresh works, the next one after it is refused, although nobody ended the login.',
  toldBy: 'a good answer without a refresh token, and right after it a request of the same process that holds none, or a refusal of the old one',
  remedy: [
    'Where the caller named here stores an answer, keep the old refresh token when the answer holds none (RFC 6749 section 6).',
    'The old token may still be good: look for it in a backup of the credential file before anybody signs in again.',
    'Else sign in again, once the caller is mended.',
  ],
  explains: ['undefined_token_sent', 'empty_token_sent', 'refresh_refused', 'refresh_failing'],
  look: evidence => {
    const retained = evidence.refreshes.filter(refresh => !refresh.isError && refresh.flag(ATTR_REFRESH_RETAINED) === true)
    return retained.flatMap((refresh, index) => {
      // Of several in a row the last one before the trouble is told of.
      const next = retained.slice(index + 1).find(later => isSameProcess(later, refresh) && later.profile === refresh.profile)
      return tell(evidence, refresh, next?.startMs ?? Number.POSITIVE_INFINITY) ?? []
    })
  },
}

function tell(evidence: Evidence, retained: SeenSpan, untilMs: number): Found | undefined {
  const later = evidence.refreshes.filter(({ startMs, provider }) => startMs >= retained.endMs && startMs < untilMs && provider === retained.provider)
  const thrownAway = later.filter(refresh => isSameProcess(refresh, retained) && NOTHING.test(refresh.text(ATTR_SHAPE_FIELDS) ?? ''))
  const refused = later.filter(refresh => refresh.sent === retained.sent && refresh.isError && refresh.outcome === 'invalidated')
  const [victim] = thrownAway.length > 0 ? thrownAway : refused
  // Whoever goes on with the old token and is served does it right.
  if (!victim || (thrownAway.length === 0 && evidence.rotationOf(victim) !== undefined)) return undefined
  const at = new Date(retained.startMs).toISOString()
  const isThrownAway = thrownAway.length > 0
  return found(refreshTokenRetained, evidence, {
    about: [retained, ...(isThrownAway ? thrownAway : refused)],
    ...(!isThrownAway && { title: 'An answer held no refresh token, and the old one is refused since' }),
    what: isThrownAway
      ? `The answer of ${at} brought an access token and no refresh token: the old one (${retained.sent}) stays good. ${times(thrownAway.length, 'later request')} of the same process held no refresh token: it has thrown its own away.`
      : `The answer of ${at} brought an access token and no refresh token; the old one (${retained.sent}) was sent again ${times(refused.length, 'time')} and refused (${victim.providerCode ?? victim.outcome}).`,
    confidence: isThrownAway ? 'certain' : 'likely',
    ...(!isThrownAway && { surerBy: 'watching every process that has this login: another one may have used the token up' }),
    shapeOf: victim,
    hypotheses: isThrownAway
      ? [
          excluded('token_rejected', `the endpoint took the refresh token ${retained.sent} and did not end it`),
          supported('request_shape', 'the request that failed holds no refresh token'),
        ]
      : [supported('token_rejected', 'the endpoint refuses the very token it answered for without a new one')],
  })
}
