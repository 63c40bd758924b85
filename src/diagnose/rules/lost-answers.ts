import { durationOf } from '../../domain/duration-text.ts'
import type { TokenRequestEvent } from '../../domain/events.ts'
import { type Evidence, endMsOf, type Group, grouped, isSameProcess, stepsOf } from '../evidence.ts'
import { answerText, callerText, capitalized, processName } from '../messages.ts'
import { type Detected, excluded, type Rule, shapeVerdicts } from '../rule.ts'

/** Why the answer to a token request was not received. */
type LossCause = 'timed_out' | 'connection_lost' | 'process_ended'

/** No connection was made: nothing was sent, so the provider rotated nothing. */
export const NEVER_SENT: ReadonlySet<string | undefined> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** The provider rotated a token, and the new one was never received: the old token is used up. */
export const LOST_ANSWER_RULES: readonly Rule[] = [
  {
    kind: 'timed_out_after_rotation',
    severity: 'grant_dead',
    title: 'A refresh timed out too early: the provider had rotated the token',
    symptom: 'A refresh times out; from then on every refresh of the login ends in 401 refresh_token_reused.',
    detectedBy: 'a refresh that timed out, and the same refresh token refused as used afterwards, without a recorded rotation in between',
    remedy: [
      'Sign in again: the new token was lost, the old one is used up.',
      'Wait longer than the token endpoint ever takes: gate.listenMs, or the time limit of the caller named here; minutes are usual.',
      'A caller may stop waiting, but the request must continue: the gate of Gatewatch does that (gate.requestTimeoutMs).',
      'After a time-out, expect that the same refresh token may be refused as used.',
    ],
    explains: ['refresh_refused', 'refresh_failing', 'fresh_login_rejected'],
    detect: evidence =>
      lostRotations(evidence, 'timed_out', ({ durationMs }) => `stopped waiting for the answer after ${durationOf(durationMs)}`),
  },
  {
    kind: 'answer_lost',
    severity: 'grant_dead',
    title: 'The answer to a refresh was lost: the provider had rotated the token',
    symptom: 'A refresh ends in a broken connection or an unreadable answer; from then on every refresh of the login is refused.',
    detectedBy: 'a refresh without a readable answer (ECONNRESET, 502 of a proxy), and the same refresh token refused as used afterwards',
    remedy: [
      'Sign in again: the new token was lost, the old one is used up.',
      'Check what lies between this machine and the token endpoint: a proxy that closes idle connections, a firewall, a changed network.',
      'If it happens repeatedly, refresh earlier (gate.earlyMs): then there is time to sign in again before calls fail.',
    ],
    explains: ['refresh_refused', 'refresh_failing', 'token_endpoint_unavailable', 'fresh_login_rejected'],
    detect: evidence => lostRotations(evidence, 'connection_lost', connectionText),
  },
  {
    kind: 'crash_before_persist',
    severity: 'grant_dead',
    title: 'A process died during a refresh, and the new token was lost',
    symptom: 'After a restart or a kill the login is dead: 401 refresh_token_reused, although no other caller uses it.',
    detectedBy:
      'a mark in the store that a process sent this token and stored no answer; no recorded end of that refresh; the next one refused as used',
    remedy: [
      'Sign in again: the new token was lost with the process, the old one is used up.',
      'Find out what ended the process: the out-of-memory killer, a deployment, a supervisor that sends SIGKILL too early.',
      'Stop it with SIGTERM and give it more time than gate.requestTimeoutMs: a gateway that stops waits for its refreshes.',
    ],
    explains: ['refresh_refused', 'refresh_failing', 'fresh_login_rejected'],
    detect: evidence => [
      ...lostRotations(evidence, 'process_ended', () => 'ended before the answer was there'),
      ...grouped(unfinished(evidence), ({ refreshFingerprintBefore }) => refreshFingerprintBefore).map(group =>
        leftUnfinished(evidence, group),
      ),
    ],
  },
]

/** The provider refused the token for good, as one that was used. */
export function isRefusedAsUsed({ isError, httpStatus, outcome, refreshFingerprintBefore }: TokenRequestEvent): boolean {
  return isError && refreshFingerprintBefore !== undefined && httpStatus !== undefined && (outcome === 'lost' || outcome === 'invalidated')
}

/** Tokens that were refused after the answer to a request with the same token had been lost. */
function lostRotations(evidence: Evidence, cause: LossCause, how: (lost: TokenRequestEvent) => string): Detected[] {
  const refused = evidence.refreshes.filter(refresh => isRefusedAsUsed(refresh) && !evidence.rotationOf(refresh))
  return grouped(refused, ({ refreshFingerprintBefore }) => refreshFingerprintBefore).flatMap(group => {
    const [first] = group
    const senders = evidence.sendersOf(first.refreshFingerprintBefore)
    const lost = senders.find(sender => sender.startMs < first.startMs && lossCause(sender))
    return lost && lossCause(lost) === cause ? [lostRotation(evidence, { lost, refused: group, how: how(lost) })] : []
  })
}

interface LostRotation {
  /** The request whose answer was lost. */
  readonly lost: TokenRequestEvent
  /** The later requests with the same token. */
  readonly refused: Group<TokenRequestEvent>
  readonly how: string
}

function lostRotation(evidence: Evidence, { lost, refused, how }: LostRotation): Detected {
  const [first] = refused
  const isSaid = first.replay === true || first.outcome === 'lost' || first.providerErrorCode === 'refresh_token_reused'
  const who = isSameProcess(lost, first) ? 'it' : processName(first)
  return {
    about: [lost, ...refused],
    callers: [lost],
    what: `${capitalized(processName(lost))}, for ${callerText(lost)}, sent the refresh token ${lost.refreshFingerprintBefore} and ${how}. ${durationOf(first.startMs - endMsOf(lost))} later ${who} sent the same token, and ${answerText(first)} was the answer: the provider had rotated it, and the new token was never received.`,
    confidence: isSaid ? 'certain' : 'likely',
    surerBy: isSaid
      ? undefined
      : 'a code of the provider that says that the token was used before; this one only says that it is no longer valid',
    request: first,
    hypotheses: [
      excluded('token_rejected', 'the endpoint accepted this token once, in the request whose answer was lost'),
      excluded('another_caller', 'the request that used the token up is known: no other caller was seen to send it'),
      ...shapeVerdicts(evidence, first),
    ],
  }
}

function lossCause({ isError, outcome, httpStatus, errorType }: TokenRequestEvent): LossCause | undefined {
  if (!isError) return undefined
  if (outcome === 'timeout') return 'timed_out'
  if (outcome === 'lost' && httpStatus === undefined) return 'process_ended'
  if (outcome === 'unreadable') return 'connection_lost'
  if (outcome !== 'unavailable' || NEVER_SENT.has(errorType)) return undefined
  // An answer that cannot be read is lost; so may be one that a proxy replaced by its own 5xx.
  return httpStatus === undefined || httpStatus < 300 || httpStatus >= 500 ? 'connection_lost' : undefined
}

function connectionText({ httpStatus, errorType = 'no reason given' }: TokenRequestEvent): string {
  if (httpStatus === undefined) return `lost the connection before the answer was there (${errorType})`
  return httpStatus < 300
    ? `got an answer that could not be read (${httpStatus}, ${errorType})`
    : `got ${httpStatus} from something in between (${errorType})`
}

/** Refusals of a token that, by the store, another refresh had sent of which no event was recorded. */
function unfinished(evidence: Evidence): TokenRequestEvent[] {
  const found = evidence.gateRefreshes.filter(refresh => isRefusedAsUsed(refresh) && pendingBefore(refresh) !== undefined)
  return found.filter(
    refresh =>
      !evidence.sendersOf(refresh.refreshFingerprintBefore).some(sender => sender.startMs < refresh.startMs && !found.includes(sender)),
  )
}

function leftUnfinished(evidence: Evidence, about: Group<TokenRequestEvent>): Detected {
  const [first] = about
  const { pid, ageS } = pendingBefore(first) ?? { pid: '' }
  const before = ageS === undefined ? '' : ` ${ageS === 0 ? 'less than a second' : durationOf(ageS * 1_000)} before`
  return {
    about,
    what: `${capitalized(lastSeenAs(evidence, first, pid))} sent the refresh token ${first.refreshFingerprintBefore}${before}, and ended before it could store the answer: no end of its refresh was recorded. ${capitalized(processName(first))}, for ${callerText(first)}, then sent the same token, and ${answerText(first)} was the answer.`,
    request: first,
    hypotheses: [
      excluded('token_rejected', 'the endpoint accepted this token once, from the process that ended'),
      excluded('another_caller', `process ${pid} went through the gate of this store; no other caller was seen to send the token`),
      ...shapeVerdicts(evidence, first),
    ],
  }
}

/** The process that ended, with the title of its other events if it left any. */
function lastSeenAs({ attempts, acquisitions, refreshes }: Evidence, { process }: TokenRequestEvent, pid: string): string {
  if (String(process?.pid) === pid) return `process ${pid}`
  const events = [attempts, acquisitions, refreshes].flatMap(
    list => list.findLast(event => String(event.process?.pid) === pid && event.process?.host === process?.host) ?? [],
  )
  return events[0] ? processName(events[0]) : `process ${pid}`
}

/** The process that had sent the token of a refresh before, by what the refresh read from the store. */
function pendingBefore(refresh: TokenRequestEvent): { readonly pid: string; readonly ageS?: number | undefined } | undefined {
  const reloaded = stepsOf(refresh, 'credential_reloaded').at(-1)
  return reloaded?.pendingProcess === undefined ? undefined : { pid: reloaded.pendingProcess, ageS: reloaded.pendingAgeS }
}
