import { ATTR_REFRESH_RETAINED, ATTR_REQUEST_FIELDS } from '../../../otel/semconv.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded, supported } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** What stands for a refresh token that somebody does not have any more. */
const NOTHING = /(?:^| )refresh_token=(?:literal:\w+|null|object|empty|absent)(?: |$)/

/** An answer holds an access token alone. The old refresh token lives on, and somebody does not know. */
export const refreshTokenRetained: Rule = {
  kind: 'refresh_token_retained',
  severity: 'grant_dead',
  title: 'An answer without a refresh token has cost the refresh token that was there',
  symptom: 'One refresh works, the next one after it is refused, although no user ended the login.',
  detectedBy:
    'a good answer without a refresh token, and right after it a request of the same process that holds none, or a refusal of the old one',
  remedy: [
    'Where the caller named here stores an answer, keep the old refresh token when the answer holds none (RFC 6749 section 6).',
    'The old token may still be good: look for it in a backup of the credential file before anybody signs in again.',
    'Else sign in again, once the caller is mended.',
  ],
  explains: ['undefined_token_sent', 'empty_token_sent', 'refresh_refused', 'refresh_failing'],
  detect: evidence => {
    const stories = new Map<InputSpan, Story>()
    for (const { retained, ...ending } of endings(evidence)) {
      const story = stories.get(retained)
      if (story) story.push(ending)
      else stories.set(retained, [ending])
    }
    return [...stories].map(([retained, story]) => report(evidence, retained, story))
  },
}

/** What came after an answer without a refresh token. */
interface EndObserver {
  readonly victim: InputSpan
  /** The client sent nothing, or the endpoint refused the old token. */
  readonly how: 'thrown_away' | 'refused'
}
type Story = EndObserver[]

function* endings(evidence: Evidence): Generator<EndObserver & { readonly retained: InputSpan }> {
  const latest = new Map<string, InputSpan>()
  const bySent = new Map<string, InputSpan>()
  for (const refresh of evidence.refreshes) {
    const { isError, sent, process, provider } = refresh
    const holder = `${process?.host} ${process?.pid} ${provider}`
    if (!isError && refresh.flag(ATTR_REFRESH_RETAINED) === true) {
      latest.set(holder, refresh)
      if (sent !== undefined) bySent.set(sent, refresh)
    } else if (!isError) {
      latest.delete(holder)
    } else if (NOTHING.test(refresh.text(ATTR_REQUEST_FIELDS) ?? '')) {
      const retained = latest.get(holder)
      if (retained) yield { retained, victim: refresh, how: 'thrown_away' }
    } else if (refresh.outcome === 'invalidated' && evidence.rotationOf(refresh) === undefined) {
      const retained = bySent.get(sent ?? '')
      if (retained) yield { retained, victim: refresh, how: 'refused' }
    }
  }
}

function report(evidence: Evidence, retained: InputSpan, story: Story): FindingDraft {
  const victimsOf = (wanted: EndObserver['how']) => story.filter(({ how }) => how === wanted).map(({ victim }) => victim)
  const [thrownAway, refused] = [victimsOf('thrown_away'), victimsOf('refused')]
  const victims = thrownAway.length > 0 ? thrownAway : refused
  const [victim] = victims
  const isThrownAway = thrownAway.length > 0
  const at = new Date(retained.startMs).toISOString()
  return findingDraft(refreshTokenRetained, evidence, {
    about: [retained, ...victims],
    ...(!isThrownAway && { title: 'An answer held no refresh token, and the old one is refused since' }),
    what: isThrownAway
      ? `The answer of ${at} brought an access token and no refresh token: the old one (${retained.sent}) stays good. ${times(thrownAway.length, 'later request')} of the same process held no refresh token: it has thrown its own away.`
      : `The answer of ${at} brought an access token and no refresh token; the old one (${retained.sent}) was sent again ${times(refused.length, 'time')} and refused (${victim?.providerCode ?? victim?.outcome}).`,
    confidence: isThrownAway ? 'certain' : 'likely',
    ...(!isThrownAway && { surerBy: 'watching every process that has this login: another one may have used the token up' }),
    ...(victim && { summarizeRequest: victim }),
    hypotheses: isThrownAway
      ? [
          excluded('token_rejected', `the endpoint took the refresh token ${retained.sent} and did not end it`),
          supported('request_shape', 'the request that failed holds no refresh token'),
        ]
      : [supported('token_rejected', 'the endpoint refuses the very token it answered for without a new one')],
  })
}
