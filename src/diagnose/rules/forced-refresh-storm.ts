import { ATTR_CREDENTIAL_EXPIRES_IN, EVENT_CREDENTIAL_RELOADED } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import { byProfile, type InputSpan } from '../evidence.ts'
import { least } from '../range.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const WINDOW_MS = 10 * 60_000
/** One forced refresh is an operator's; so many in a window are a program's. */
const FEWEST = 5

/** Tokens that are still good are rotated again and again. */
export const forcedRefreshStorm: Rule = {
  kind: 'forced_refresh_storm',
  severity: 'storm',
  title: 'Tokens that are still good are refreshed again and again',
  symptom: 'The token endpoint sees many refreshes of one login; sooner or later it throttles, or two of them collide and the login dies.',
  detectedBy: 'the reason forced on rotation after rotation, with a long time to expiry each; the callers that lead them',
  remedy: [
    'Take the force away from the callers named here: a token that is good until its expiry needs no refresh.',
    'With the gate of Gatewatch: set gate.forced to "reuse", and forced acquisitions get the token that is there.',
    'A caller that was refused by the provider says so by the reason rejected; that is served.',
  ],
  detect: evidence => {
    const forced = evidence.refreshes.filter(({ reason, outcome }) => reason === 'forced' && outcome === 'rotated')
    return [...byProfile(forced).values()].flatMap(group => {
      const busiest = busiestWindow(group)
      return busiest < FEWEST ? [] : [report(group, busiest)]
    })

    function report(about: readonly InputSpan[], busiest: number): FindingDraft {
      const led = new Set(about.map(({ caller }) => caller))
      const left = about.flatMap(secondsLeft)
      return findingDraft(forcedRefreshStorm, evidence, {
        about,
        what: `${times(about.length, 'forced rotation')}, up to ${busiest} of them within ten minutes, by ${times(led.size, 'caller')}${left.length > 0 ? `; the token was good for another ${durationOf(least(left) * 1_000)} or more each time` : ''}.`,
        confidence: left.length === about.length ? 'certain' : 'likely',
        ...(left.length < about.length && {
          surerBy: 'the expiry of the tokens in use: name the credential file, or let the calls be watched too',
        }),
      })
    }
  },
}

/** The most spans within any ten minutes; the spans are in order of time. */
function busiestWindow(spans: readonly InputSpan[]): number {
  let most = 0
  let from = 0
  spans.forEach((span, index) => {
    while ((spans[from]?.startMs ?? 0) < span.startMs - WINDOW_MS) from += 1
    most = Math.max(most, index - from + 1)
  })
  return most
}

/** Seconds the token in use was still good, as the refresh read it from the store or the watch knew it. */
function secondsLeft(refresh: InputSpan): number[] {
  const [reloaded] = refresh.events(EVENT_CREDENTIAL_RELOADED)
  const left = reloaded?.number(ATTR_CREDENTIAL_EXPIRES_IN) ?? refresh.number(ATTR_CREDENTIAL_EXPIRES_IN)
  return left === undefined ? [] : [left]
}
