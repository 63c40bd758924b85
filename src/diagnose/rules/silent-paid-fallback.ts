import {
  ATTR_BILLING,
  ATTR_BILLING_CHANGED,
  ATTR_CREDENTIAL_TYPE,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  EVENT_FALLBACK,
} from '../../../otel/semconv.ts'
import { wordsOf } from '../counters.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { greatest } from '../range.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** A login that fails and a key that takes over are near each other in time. */
const NEAR_MS = 10 * 60_000

/** Calls that a subscription was meant for are paid by use. */
export const silentPaidFallback: Rule = {
  kind: 'silent_paid_fallback',
  severity: 'money_spent',
  title: 'Calls meant for a subscription are paid by use',
  symptom: 'Everything works, and the bill of an API key grows.',
  detectedBy:
    'calls served by a metered profile although the preferred one pays by subscription; in a watched process a key on calls that carried a login before it failed',
  remedy: [
    'Mend the login that calls were meant for: the findings beside this one and the refreshes named here say what ails it.',
    'Until then decide whether the work is worth the money: fallback.metered "deny" stops it, and callers get an error instead.',
    'Where a client must know, it reads the response header x-gatewatch-billing-changed.',
  ],
  explains: ['refresh_refused', 'refresh_failing'],
  detect: evidence => [...throughGateway(evidence), ...inWatchedProcesses(evidence)],
}

function throughGateway(evidence: Evidence): FindingDraft[] {
  const paid = evidence.calls.filter(
    call => !call.isError && call.flag(ATTR_BILLING_CHANGED) === true && call.text(ATTR_BILLING) === 'metered',
  )
  const groups = Map.groupBy(paid, call => `${preferredOf(call)} ${call.profile}`)
  return [...groups.values()].map(calls => {
    const [first] = calls
    const preferred = first && preferredOf(first)
    const lastMs = greatest(calls.map(({ endMs }) => endMs))
    const failures = evidence.refreshes.filter(
      ({ isError, outcome, profile, startMs }) => isError && outcome !== 'needs_login' && profile === preferred && startMs <= lastMs,
    )
    const reasons = wordsOf(calls, call => call.events(EVENT_FALLBACK)[0]?.text(ATTR_FALLBACK_REASON))
    const back = evidence.calls.find(({ isServed, profile, startMs }) => isServed && profile === preferred && startMs > lastMs)
    return report(evidence, failures, calls, {
      what: `${times(calls.length, 'call')} meant for ${preferred} went to ${first?.profile}, which is paid by use (${reasons.map(({ word, count }) => `${word} ${count}`).join(', ')})${causeText(failures)}. ${back ? `Since ${new Date(back.startMs).toISOString()} the subscription serves again.` : 'It goes on: no later call was served by the subscription.'}`,
      confidence: 'certain',
    })
  })
}

/** The profile that was to serve before anything fell back. */
function preferredOf(call: InputSpan): string | undefined {
  return call.events(EVENT_FALLBACK)[0]?.text(ATTR_FALLBACK_FROM)
}

/** In a process whose profiles nobody knows: calls carried a login, it failed, and calls carry a key since. */
function inWatchedProcesses(evidence: Evidence): FindingDraft[] {
  const seen = evidence.attempts.filter(attempt => attempt.text(ATTR_BILLING) === undefined && attempt.process !== undefined)
  const failed = evidence.refreshes.filter(({ isError }) => isError)
  return [...Map.groupBy(seen, ({ process }) => `${process?.host} ${process?.pid}`).values()].flatMap(attempts => {
    const good = attempts.filter(({ isServed }) => isServed)
    const login = good.findLast(attempt => attempt.text(ATTR_CREDENTIAL_TYPE) === 'token')
    const paid = good.filter(attempt => attempt.text(ATTR_CREDENTIAL_TYPE) === 'api_key')
    const [firstPaid] = paid
    // A process that uses both side by side has not fallen back.
    if (!login || !firstPaid || firstPaid.startMs < login.startMs) return []
    const pid = login.process?.pid
    const isCause = ({ process, provider, startMs }: InputSpan) =>
      process?.pid === pid && provider === login.provider && startMs >= login.startMs && startMs <= firstPaid.startMs
    const failures = [...failed.filter(isCause), ...attempts.filter(attempt => attempt.status === 401 && isCause(attempt))]
    if (failures.length === 0 || firstPaid.startMs - greatest(failures.map(({ endMs }) => endMs)) > NEAR_MS) return []
    return [
      report(evidence, failures, paid, {
        what: `Process ${pid} called ${login.provider} with a login${causeText(failures)}; ${times(paid.length, 'call')} since then went to ${firstPaid.provider} with an API key, none with the login.`,
        confidence: 'likely',
        surerBy: 'the order of profiles of that application: is the key meant to take over?',
      }),
    ]
  })
}

function causeText(failures: readonly InputSpan[]): string {
  const last = failures.at(-1)
  return last
    ? `; before that ${times(failures.length, 'request')} with the login failed: ${last.status ?? 'no answer'} ${last.providerCode ?? last.outcome ?? ''}`.trimEnd()
    : ''
}

function report(
  evidence: Evidence,
  failures: readonly InputSpan[],
  paid: readonly InputSpan[],
  said: { readonly what: string; readonly confidence: 'certain' | 'likely'; readonly surerBy?: string },
): FindingDraft {
  return findingDraft(silentPaidFallback, evidence, {
    ...said,
    about: [...failures, ...paid].sort((a, b) => a.startMs - b.startMs),
    callers: paid,
  })
}
