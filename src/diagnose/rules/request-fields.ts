import type { TokenRequestEvent } from '../../domain/events.ts'
import { byLogin, type Evidence, type Group, grouped } from '../evidence.ts'
import { answerText, isoTime, times } from '../messages.ts'
import { type Detected, excluded, type Rule, supported } from '../rule.ts'

/** What a program sends that turns a missing token into text. */
const LITERAL = /(?:^| )refresh_token=(literal:\w+|null|object)(?: |$)/
const EMPTY = /(?:^| )refresh_token=empty(?: |$)/
const NO_TOKEN = /(?:^| )refresh_token=(?:literal:\w+|null|object|empty|absent)(?: |$)/

/** Token requests whose field `refresh_token` holds no token, and where it went. */
export const REQUEST_FIELD_RULES: readonly Rule[] = [
  {
    kind: 'undefined_token_sent',
    severity: 'grant_dead',
    title: 'The word "undefined" is sent in place of the refresh token',
    symptom: 'Every refresh ends in 401 token_expired although the login is valid and other programs refresh it.',
    detectedBy: 'the class of the field refresh_token in the request: a literal, where the last request that worked held a token',
    remedy: [
      'Do not sign in again yet: the login itself is valid.',
      'Check where the caller named here reads its credential: that store holds no refresh token, or it was not decrypted.',
      'Let the caller fail when there is no refresh token, instead of sending the request.',
    ],
    explains: ['refresh_refused', 'refresh_failing', 'gate_bypassed'],
    detect: ({ refreshes }) =>
      grouped(
        refreshes.filter(({ requestFields = '' }) => LITERAL.test(requestFields)),
        ({ profile }) => profile,
      ).map(about => {
        const [{ httpStatus = 'nothing', providerErrorCode = '', requestFields = '' }] = about
        const literal = LITERAL.exec(requestFields)?.[1]
        const answer = `${httpStatus} ${providerErrorCode}`.trimEnd()
        return tokenless(about, {
          what: `${times(about.length, 'token request')} carried refresh_token=${literal}; the endpoint answered ${answer}.`,
          shape: `the field refresh_token holds ${literal} where a token belongs`,
        })
      }),
  },
  {
    kind: 'empty_token_sent',
    severity: 'grant_dead',
    title: 'An empty string is sent in place of the refresh token',
    symptom: 'Refreshes end in 400, not 401: the endpoint says that refresh_token is an empty string.',
    detectedBy: 'the class of the field refresh_token in the request: empty',
    remedy: [
      'Do not sign in again yet: no token was sent, so none was rejected.',
      'Check what wrote the credential that the caller named here reads: it stored a login without a refresh token, as after a login without the scope offline_access.',
      'If the store holds an empty string, sign in again with that scope.',
    ],
    explains: ['refresh_refused', 'refresh_failing', 'gate_bypassed'],
    detect: ({ refreshes }) =>
      byLogin(refreshes.filter(({ requestFields = '' }) => EMPTY.test(requestFields))).map(about =>
        tokenless(about, {
          what: `${times(about.length, 'token request')} carried an empty refresh_token; the endpoint answered ${about[0].httpStatus ?? 'nothing'}.`,
          shape: 'the field refresh_token is empty where a token belongs',
        }),
      ),
  },
  {
    kind: 'refresh_token_retained',
    severity: 'grant_dead',
    title: 'An answer without a refresh token made a client lose its refresh token',
    symptom: 'One refresh works and the next one is refused, although no user ended the login.',
    detectedBy:
      'a successful answer without a refresh token, followed by a request of the same process without one, or by a refusal of the old one',
    remedy: [
      'Where the caller named here stores an answer, keep the old refresh token if the answer holds none (RFC 6749 section 6).',
      'The old token may still be good: look for it in a backup of the credential file before you sign in again.',
      'Otherwise sign in again, once the caller is fixed.',
    ],
    explains: ['undefined_token_sent', 'empty_token_sent', 'refresh_refused', 'refresh_failing'],
    detect: evidence => grouped(retentionFailures(evidence), ({ retained }) => retained).map(tokenDropped),
  },
]

function tokenless(about: Group<TokenRequestEvent>, { what, shape }: { readonly what: string; readonly shape: string }): Detected {
  return {
    about,
    what,
    request: about[0],
    hypotheses: [
      excluded('token_rejected', 'no token of this login was sent, so none can have been rejected'),
      excluded('another_caller', 'a request without a token is refused no matter which caller refreshes'),
      supported('request_shape', shape),
    ],
  }
}

/** A failure after an answer that held no refresh token. */
interface RetentionFailure {
  /** The refresh with that answer. */
  readonly retained: TokenRequestEvent
  readonly failed: TokenRequestEvent
  /** The failed request holds no token; else the endpoint refused the old one. */
  readonly isTokenGone: boolean
}

function* retentionFailures(evidence: Evidence): Generator<RetentionFailure> {
  const latest = new Map<string, TokenRequestEvent>()
  const bySent = new Map<string, TokenRequestEvent>()
  for (const refresh of evidence.refreshes) {
    const { isError, refreshFingerprintBefore: sent, process, provider } = refresh
    const holder = `${process?.host} ${process?.pid} ${provider}`
    if (isError) {
      const isTokenGone = NO_TOKEN.test(refresh.requestFields ?? '')
      const retained = isTokenGone ? latest.get(holder) : isUnexplainedRefusal(evidence, refresh) && sent !== undefined && bySent.get(sent)
      if (retained) yield { retained, failed: refresh, isTokenGone }
      continue
    }
    latest.delete(holder)
    if (refresh.refreshTokenRetained !== true) continue
    latest.set(holder, refresh)
    if (sent !== undefined) bySent.set(sent, refresh)
  }
}

/** The endpoint refused a token that no recorded rotation replaced. */
function isUnexplainedRefusal(evidence: Evidence, refresh: TokenRequestEvent): boolean {
  return refresh.outcome === 'invalidated' && evidence.rotationOf(refresh) === undefined
}

function tokenDropped(failures: Group<RetentionFailure>): Detected {
  const [{ retained }] = failures
  const isTokenGone = failures.some(failure => failure.isTokenGone)
  const failed = failures.filter(failure => failure.isTokenGone === isTokenGone).map(failure => failure.failed)
  const answer = `The answer of ${isoTime(retained.startMs)} brought an access token and no refresh token`
  const token = retained.refreshFingerprintBefore
  if (isTokenGone)
    return {
      about: [retained, ...failed],
      what: `${answer}: the old one (${token}) stays good. ${times(failed.length, 'later request')} of the same process held no refresh token: it has dropped its own.`,
      request: failed[0],
      hypotheses: [
        excluded('token_rejected', `the endpoint took the refresh token ${token} and did not end it`),
        supported('request_shape', 'the request that failed holds no refresh token'),
      ],
    }
  return {
    about: [retained, ...failed],
    title: 'An answer held no refresh token, and the old one is refused since',
    what: `${answer}; the old one (${token}) was sent again ${times(failed.length, 'time')} and refused (${answerText(failed[0])}).`,
    surerBy: 'watching every process that has this login: another one may have used the token up',
    request: failed[0],
    hypotheses: [supported('token_rejected', 'the endpoint refuses the token that it had accepted without issuing a new one')],
  }
}
