import { ATTR_EXPIRES_IN_REPAIRED, ATTR_TOKEN_AGE } from '../../../otel/semconv.ts'
import { wordsOf } from '../counters.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** `absolute` is how some providers always say it. */
const WRONG: ReadonlySet<string | undefined> = new Set(['missing', 'zero', 'string', 'milliseconds'])
const GRANTED: ReadonlySet<string | undefined> = new Set(['rotated', 'renewed', 'not_persisted'])
const LOOP_WINDOW_MS = 10 * 60_000
/** So many refreshes of one login within ten minutes are a loop. */
const FEWEST_OF_LOOP = 5
const YOUNG_SECONDS = 300

/** The token endpoint says nothing usable about the life of the token. */
export const badExpiresIn: Rule = {
  kind: 'bad_expires_in',
  severity: 'warning',
  title: 'The token endpoint says something unusable about the life of its tokens',
  symptom:
    'A client refreshes before every call, or fails with "response missing fields"; or it believes a token to live for years and runs into 401.',
  detectedBy: 'expires_in of the answer was missing, 0, a string or counted in milliseconds; and how soon the next refresh followed',
  remedy: [
    'Nothing breaks in the gateway: the life is read from the token itself, else taken for an hour.',
    'Look for other clients of the same login: one that takes 0 or nothing at its word refreshes before each call. The callers are named here.',
    'Tell the provider, with the request ids of the traces: RFC 6749 section 5.1 wants seconds, as a number.',
  ],
  explains: ['forced_refresh_storm'],
  detect: evidence => {
    const target = reportingProviders(evidence)
    const wrong = evidence.refreshes.filter(refresh => isWrong(refresh, target))
    return [...Map.groupBy(wrong, ({ provider }) => provider).values()].map(group => report(evidence, group))
  },
}

/** A provider that never sends the field is no failure (it is only recommended); one that did before is. */
function isWrong(refresh: InputSpan, target: ReadonlySet<string | undefined>): boolean {
  const repaired = refresh.text(ATTR_EXPIRES_IN_REPAIRED)
  return repaired === 'missing' ? target.has(refresh.provider) : WRONG.has(repaired)
}

/** Providers that were seen to say how long a token lives. */
function reportingProviders({ refreshes }: Evidence): ReadonlySet<string | undefined> {
  const target = refreshes.filter(
    refresh => GRANTED.has(refresh.outcome) && refresh.received !== undefined && refresh.text(ATTR_EXPIRES_IN_REPAIRED) !== 'missing',
  )
  return new Set(target.map(({ provider }) => provider))
}

function report(evidence: Evidence, wrong: readonly InputSpan[]): FindingDraft {
  const kinds = wordsOf(wrong, refresh => refresh.text(ATTR_EXPIRES_IN_REPAIRED))
  const hurried = wrong.filter(refresh => (refresh.number(ATTR_TOKEN_AGE) ?? Number.POSITIVE_INFINITY) < YOUNG_SECONDS)
  const isLoop = hurried.some(
    (refresh, index) => (hurried[index + FEWEST_OF_LOOP - 1]?.startMs ?? Number.POSITIVE_INFINITY) - refresh.startMs <= LOOP_WINDOW_MS,
  )
  return findingDraft(badExpiresIn, evidence, {
    about: wrong,
    ...(isLoop && { severity: 'storm', title: 'Tokens are refreshed again and again: the token endpoint does not say how long they live' }),
    what: `${times(wrong.length, 'answer')} of the token endpoint of ${wrong[0]?.provider} with an expires_in that cannot be used (${kinds.map(({ word, count }) => `${count} ${word}`).join(', ')})${isLoop ? `; ${times(hurried.length, 'refresh')} of tokens less than ${YOUNG_SECONDS / 60} minutes old` : ''}.`,
    confidence: 'certain',
  })
}
