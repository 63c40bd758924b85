import { ATTR_PENDING_AGE, ATTR_PENDING_PROCESS, EVENT_CREDENTIAL_RELOADED } from '../../../otel/semconv.ts'
import { durationOf } from '../../domain/duration-text.ts'
import type { Evidence, InputSpan } from '../evidence.ts'
import { excluded, judgeShape } from '../hypotheses.ts'
import { isRefusedAsUsed, lostRotations, reportLostRotation } from '../lost-answers.ts'
import { callerText, capitalized, processOf } from '../messages.ts'
import { comparedShapes } from '../request-shapes.ts'
import { type FindingDraft, findingDraft, type Rule } from '../rule.ts'

/** A process died between the rotation and the moment in which the new token was stored. */
export const crashBeforePersist: Rule = {
  kind: 'crash_before_persist',
  severity: 'grant_dead',
  title: 'A process died in the middle of a refresh, and the new token with it',
  symptom: 'After a restart or a kill the login is dead: 401 refresh_token_reused, although no other caller uses it.',
  detectedBy:
    'a mark in the store that a process sent this refresh token and never stored an answer, with no span of its end; and the token refused as used by the next refresh',
  remedy: [
    'Sign in again: the new token died with the process, the old one is spent.',
    'Find out what ended that process: the out-of-memory killer, a deployment, a supervisor that sends SIGKILL too soon.',
    'Let it end by SIGTERM and give it more time than gate.requestTimeoutMs: a gateway that is stopped waits for its refreshes.',
  ],
  explains: ['refresh_refused', 'refresh_failing', 'fresh_login_rejected'],
  detect: evidence => [
    ...lostRotations(evidence, 'process_ended').map(lost =>
      findingDraft(crashBeforePersist, evidence, reportLostRotation(evidence, lost, 'ended before the answer was there')),
    ),
    ...[...Map.groupBy(leftBehind(evidence), ({ sent }) => sent).values()].flatMap(group => report(evidence, group) ?? []),
  ],
}

/** Refusals of a token that the store says was sent before, by a refresh that nobody recorded. */
function leftBehind(evidence: Evidence): InputSpan[] {
  const found = evidence.gateRefreshes.filter(refresh => isRefusedAsUsed(refresh) && pendingOf(refresh) !== undefined)
  return found.filter(
    refresh => !evidence.sendersOf(refresh.sent).some(sender => sender.startMs < refresh.startMs && !found.includes(sender)),
  )
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft | undefined {
  const [first] = about
  const pending = first && pendingOf(first)
  if (!first || !pending) return undefined
  return findingDraft(crashBeforePersist, evidence, {
    about,
    what: `${capitalized(lastSeenAs(evidence, first, pending.pid))} sent the refresh token ${first.sent}${pending.age === undefined ? '' : ` ${pending.age === 0 ? 'less than a second' : durationOf(pending.age * 1_000)} before`}, and ended before it could store the answer: no end of its refresh was recorded. ${capitalized(processOf(first))}, for ${callerText(first)}, then sent the same token, and ${first.providerCode ?? first.outcome} was the answer.`,
    confidence: 'certain',
    summarizeRequest: first,
    hypotheses: [
      excluded('token_rejected', 'the endpoint took this very token once, from the process that ended'),
      excluded('another_caller', `process ${pending.pid} went through the gate of this store; no other caller was seen to send the token`),
      ...judgeShape(comparedShapes(evidence, first)),
    ],
  })
}

/** The process that is gone, by the title it has on its other spans, if it left any. */
function lastSeenAs({ attempts, acquisitions, refreshes }: Evidence, { process }: InputSpan, pid: string): string {
  const isIt = (span: InputSpan) => String(span.process?.pid) === pid && span.process?.host === process?.host
  const other = attempts.findLast(isIt) ?? acquisitions.findLast(isIt) ?? refreshes.findLast(isIt)
  return other && String(process?.pid) !== pid ? processOf(other) : `process ${pid}`
}

/** Who had sent the token of a refresh before, as the store told the refresh. */
function pendingOf(refresh: InputSpan): { readonly pid: string; readonly age: number | undefined } | undefined {
  const reloaded = refresh.events(EVENT_CREDENTIAL_RELOADED).at(-1)
  const pid = reloaded?.text(ATTR_PENDING_PROCESS)
  return pid === undefined ? undefined : { pid, age: reloaded?.number(ATTR_PENDING_AGE) }
}
