import { ATTR_REQUEST_USER_AGENT, ATTR_RETRY_AFTER } from '../../../otel/semconv.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded, supported } from '../hypotheses.ts'
import { greatest } from '../range.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const NEAR_MS = 30 * 60_000
/** A real throttle may forget its Retry-After once or twice. */
const FEWEST_ISOLATED = 3

/** A firewall lets one kind of client refresh and throttles every other one for ever. */
export const refusedByUserAgent: Rule = {
  kind: 'refused_by_user_agent',
  severity: 'warning',
  title: 'The token endpoint throttles this client for what it calls itself',
  symptom: 'Every refresh ends in 429 however seldom it is tried, while calls work and another client refreshes.',
  detectedBy: '429 without Retry-After to every token request of one User-Agent, while one with another User-Agent is served',
  remedy: [
    'Do not sign in again and do not try faster: it is no quota, waiting does not help.',
    'Refresh with a client that the provider lets through, and let the others read what it stores; its token endpoint gate can do that for several.',
    'Ask the provider which clients may refresh such a login; it may be meant for its own alone.',
  ],
  explains: ['refresh_failing', 'token_endpoint_unavailable'],
  detect: evidence => {
    const throttled = evidence.refreshes.filter(
      refresh =>
        refresh.isError && refresh.status === 429 && refresh.number(ATTR_RETRY_AFTER) === undefined && agentOf(refresh) !== undefined,
    )
    return [...Map.groupBy(throttled, refresh => `${refresh.provider} ${agentOf(refresh)}`).values()].flatMap(
      group => report(evidence, group) ?? [],
    )
  },
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft | undefined {
  const [first] = about
  const lastMs = greatest(about.map(({ endMs }) => endMs))
  const isNear = ({ startMs, provider }: InputSpan) =>
    provider === first?.provider && startMs >= (first?.startMs ?? 0) - NEAR_MS && startMs <= lastMs + NEAR_MS
  const served = evidence.refreshes.filter(refresh => !refresh.isError && refresh.status === 200 && isNear(refresh))
  if (!first || served.some(refresh => agentOf(refresh) === agentOf(first))) return undefined
  const others = served.filter(refresh => agentOf(refresh) !== undefined)
  const calls = evidence.attempts.filter(attempt => attempt.isServed && attempt.startMs >= first.startMs && isNear(attempt)).length
  if (others.length === 0 && (about.length < FEWEST_ISOLATED || calls === 0)) return undefined
  const [other] = others
  const callsText = calls > 0 ? `; ${times(calls, 'call')} of the provider went through in the same time` : ''
  return findingDraft(refusedByUserAgent, evidence, {
    about,
    what: `${times(about.length, 'token request')} with User-Agent ${agentOf(first)} (fingerprint) got 429 without Retry-After, none was served${other ? `, while ${other.caller} with User-Agent ${agentOf(other)} was served ${times(others.length, 'time')}` : ''}${callsText}.`,
    confidence: other ? 'likely' : 'possible',
    surerBy: other ? 'the same request with the other User-Agent' : 'one refresh by the own client of the provider in the same time',
    hypotheses: [
      excluded('token_rejected', 'the answer is about how often was asked; the token was not judged'),
      ...(other ? [supported('request_shape', 'another User-Agent is served at the same endpoint in the same time')] : []),
    ],
  })
}

function agentOf(refresh: InputSpan): string | undefined {
  return refresh.text(ATTR_REQUEST_USER_AGENT)
}
