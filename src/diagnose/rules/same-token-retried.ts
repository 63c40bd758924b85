import { ATTR_ATTEMPT_OUTCOME, ATTR_CREDENTIAL_EXPIRES_IN, ATTR_CREDENTIAL_FINGERPRINT, ATTR_URL_PATH } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import { type Evidence, type InputSpan, isSameProcess } from '../evidence.ts'
import { callerText } from '../messages.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'
import { begunBetween } from '../time-window.ts'

/** Pauses between tries grow: 1, 2, 4 s and more. */
const LONGEST_PAUSE_MS = 60_000
/** One refusal and one try more may be two callers; a third is a habit. */
const FEWEST = 3

/** A refused access token is sent again as it is. */
export const sameTokenRetried: Rule = {
  kind: 'same_token_retried',
  severity: 'warning',
  title: 'A call is tried again and again with the token that was just refused',
  symptom: 'A turn takes seconds to fail, and the provider counts several 401 for it; no refresh happens in between.',
  detectedBy: 'a row of 401 by one caller with an access token of the same fingerprint, and no refresh in between',
  remedy: [
    'Let the caller named here stop at a 401: the same token gets the same answer. Either ask the gate for a newer one, or fail at once.',
    'Retries belong to 429, 5xx and broken connections only.',
    'Then look at why the token is refused: the first 401 of the row is the one that matters.',
  ],
  explains: ['rejected_while_valid'],
  detect: evidence => {
    const rows = rowsOf(evidence)
    return [...Map.groupBy(rows, ([first]) => `${first?.caller} ${first?.provider}`).values()].map(group => report(evidence, group))
  },
}

/** Rows of refusals, one after the other, that differ in nothing. */
function rowsOf(evidence: Evidence): (readonly InputSpan[])[] {
  const groups = Map.groupBy(evidence.attempts.filter(hasToken), keyOf)
  return [...groups.values()].flatMap(attempts => {
    const rows: InputSpan[][] = []
    let before: InputSpan | undefined
    for (const attempt of attempts) {
      const row = rows.at(-1)
      if (!isRejected(attempt)) before = undefined
      else {
        if (row && before && continues(evidence, before, attempt)) row.push(attempt)
        else rows.push([attempt])
        before = attempt
      }
    }
    return rows.filter(({ length }) => length >= FEWEST)
  })
}

function keyOf(attempt: InputSpan): string {
  const { process, caller, place } = attempt
  return [process?.host, process?.pid, caller, place, attempt.text(ATTR_URL_PATH), attempt.text(ATTR_CREDENTIAL_FINGERPRINT)].join('\0')
}

function continues({ refreshes }: Evidence, before: InputSpan, attempt: InputSpan): boolean {
  if (attempt.startMs < before.endMs || attempt.startMs - before.endMs > LONGEST_PAUSE_MS) return false
  return !begunBetween(refreshes, before.startMs, attempt.startMs).some(
    refresh => refresh.provider === attempt.provider && isSameProcess(refresh, attempt),
  )
}

function report(evidence: Evidence, rows: readonly (readonly InputSpan[])[]): FindingDraft {
  const about = rows.flat().sort((a, b) => a.startMs - b.startMs)
  const longest = rows.toSorted((a, b) => b.length - a.length)[0] ?? []
  const [first] = longest
  const last = longest.at(-1)
  const left = first?.number(ATTR_CREDENTIAL_EXPIRES_IN)
  return findingDraft(sameTokenRetried, evidence, {
    about,
    what: `${first ? callerText(first) : ''} sent the access token ${first?.text(ATTR_CREDENTIAL_FINGERPRINT)} ${times(longest.length, 'time')} within ${durationOf((last?.endMs ?? 0) - (first?.startMs ?? 0))}, and got 401 ${first?.providerCode ?? ''} each time, without a refresh in between${rows.length > 1 ? `; ${rows.length} such rows` : ''}.${left === undefined ? '' : ` By its own word the token is ${left > 0 ? `good for another ${durationOf(left * 1_000)}` : 'expired'}.`}`,
    confidence: 'certain',
  })
}

function hasToken(attempt: InputSpan): boolean {
  return attempt.text(ATTR_CREDENTIAL_FINGERPRINT) !== undefined
}

function isRejected(attempt: InputSpan): boolean {
  const outcome = attempt.text(ATTR_ATTEMPT_OUTCOME)
  return attempt.status === 401 && (outcome === 'auth' || outcome === 'auth_permanent')
}
