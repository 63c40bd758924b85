import type { AttemptEvent, LoginEvent, TokenRequestEvent } from '../../domain/events.ts'
import { REGION_CODE } from '../../domain/refusal-codes.ts'
import {
  begunBetween,
  byLogin,
  type Evidence,
  endMsOf,
  type Group,
  greatest,
  grouped,
  inOrder,
  isFailedRefresh,
  isRefusedForGood,
  lastEndMs,
  lastOf,
} from '../evidence.ts'
import { countWords, isoTime, times } from '../messages.ts'
import { type Detected, excluded, type Rule, supported } from '../rule.ts'
import { NEVER_SENT } from './lost-answers.ts'

/** Requests of one User-Agent are compared with those of others within this time. */
const NEAR_MS = 30 * 60_000
/** A provider that throttles may omit Retry-After once or twice. */
const FEWEST_ISOLATED = 3
const SCOPE_CODES: ReadonlySet<string | undefined> = new Set(['missing_scope', 'insufficient_scope', 'invalid_scope'])

type RefusableRequest = TokenRequestEvent | AttemptEvent | LoginEvent

/** The token endpoint, or a firewall before it, refuses without judging the token: the login is unharmed. */
export const TOKEN_ENDPOINT_RULES: readonly Rule[] = [
  {
    kind: 'token_endpoint_unavailable',
    severity: 'warning',
    title: 'The token endpoint is down or throttles',
    symptom: 'Refreshes fail for a while; some clients treat that as the end of the login and ask to sign in again.',
    detectedBy: 'status 5xx or 429 of the token endpoint, or no connection; never a verdict on the token',
    remedy: [
      'Do not sign in again: the login is valid, and a login adds to the load.',
      "Check the provider's status page; calls work as long as the access token is valid.",
      'If it throttles (429), find the callers that ask too often; if nothing connects, check network, proxy and name server.',
    ],
    explains: ['refresh_failing'],
    detect: evidence => byLogin(evidence.refreshes.filter(isUnavailable)).map(about => unavailable(evidence, about)),
  },
  {
    kind: 'firewall_page',
    severity: 'warning',
    title: 'A firewall in front of the provider answers with an HTML page',
    symptom: 'Refreshes or calls end in 403, or in a timeout or parse error where the client cannot read the page.',
    detectedBy: 'status 403 or 429 with content type text/html; the request id is that of the firewall (cf-ray)',
    remedy: [
      'Do not sign in again: the provider has not received the request, and the login is unchanged.',
      'Check which address this machine uses: data centre, VPN or proxy. Try from another network.',
      'Report the request id to the provider, and ask to allow the address.',
    ],
    explains: ['refresh_failing', 'token_endpoint_unavailable'],
    detect: evidence =>
      grouped(inOrder([...evidence.refreshes, ...evidence.attempts].filter(isPage)), ({ provider }) => provider).map(about => {
        const [{ provider, startMs }] = about
        const { httpStatus } = lastOf(about)
        const through = evidence.servedAttempts({ provider }, startMs, endMsOf(lastOf(about))).length
        const id = about.findLast(({ providerRequestId }) => providerRequestId !== undefined)?.providerRequestId
        return {
          about,
          what: `${requestsText(about)} got ${httpStatus} with an HTML page${id === undefined ? '' : ` (request id ${id})`}: something in front of ${provider} answered. ${through > 0 ? `${times(through, 'call')} of the provider went through in the same time: only a part of its addresses is closed.` : 'Nothing went through in the same time.'}`,
          hypotheses: [
            excluded('token_rejected', 'the answer is an HTML page: the token endpoint has not judged the token'),
            excluded('request_shape', 'the answer is an HTML page: the token endpoint has not read the request'),
          ],
        }
      }),
  },
  {
    kind: 'region_refused',
    severity: 'warning',
    title: 'The provider refuses the region that requests come from',
    symptom: 'Calls work until the access token expires; then every refresh ends in 403.',
    detectedBy: "the provider's code unsupported_country_region_territory, and whether calls go through while refreshes do not",
    remedy: [
      'Do not sign in again: a login from here is refused too.',
      'Send token requests by the same route as calls: HTTPS_PROXY (and NODE_USE_ENV_PROXY=1 for fetch) must be set for the process that refreshes. The gateway itself uses HTTPS_PROXY for both.',
      'Compare the addresses that both come from; refresh where calls are allowed.',
    ],
    explains: ['refresh_refused', 'refresh_failing'],
    detect: evidence =>
      grouped(
        requestsOf(evidence).filter(({ providerErrorCode }) => providerErrorCode === REGION_CODE),
        ({ provider }) => provider,
      ).map(about => {
        const [{ provider, startMs, httpStatus }] = about
        const through = evidence.servedAttempts({ provider }, startMs).length
        const isSplit = through > 0 && about.every(({ kind }) => kind !== 'attempt')
        return {
          about,
          title: isSplit ? 'The token endpoint refuses the region, while calls go through: they take different routes' : undefined,
          what: `${requestsText(about)} refused with ${httpStatus} ${REGION_CODE}; ${isSplit ? `${times(through, 'call')} to the API of the same provider went through since: calls and refreshes leave this machine by different routes` : 'no call went through since'}.`,
          hypotheses: [
            excluded('token_rejected', 'the endpoint refuses where the request comes from, not the token'),
            excluded('another_caller', 'the region is refused no matter which caller refreshes'),
          ],
        }
      }),
  },
  {
    kind: 'scope_missing',
    severity: 'warning',
    title: 'The login lacks a required scope',
    symptom: 'Signing in or refreshing works, and every call ends in 401 or 403; or the sign-in page itself refuses.',
    detectedBy: "the provider's code (missing_scope, insufficient_scope; invalid_scope at the sign-in page), not the status",
    remedy: [
      'Do not refresh: a refresh never widens the scopes of a login.',
      'Sign in again with the scopes that the client requests today (providers.<id>.scopes).',
      'If the sign-in page answers invalid_scope, the client id may not request one of them: compare with the scopes of the client of the provider.',
    ],
    explains: ['rejected_while_valid', 'refresh_refused'],
    detect: evidence =>
      byLogin(requestsOf(evidence).filter(({ isError, providerErrorCode }) => isError && SCOPE_CODES.has(providerErrorCode))).map(about => {
        const [{ profile, startMs, httpStatus }] = about
        const codes = [...new Set(about.map(({ providerErrorCode }) => providerErrorCode))].join(', ')
        const served = evidence.servedAttempts({ profile }, startMs).length
        return {
          about,
          what: `${requestsText(about)} refused with ${httpStatus ?? 'no status'} ${codes}; ${served > 0 ? `${times(served, 'other call')} of the profile went through: only a part of what it does needs the scope` : 'no call of the profile went through since'}.`,
          hypotheses: [excluded('token_rejected', 'the token was recognized, and lacks a permission')],
        }
      }),
  },
  {
    kind: 'refused_by_user_agent',
    severity: 'warning',
    title: 'The token endpoint throttles this client for its User-Agent',
    symptom: 'Every refresh ends in 429, however rarely it is tried, while calls work and another client refreshes.',
    detectedBy: '429 without Retry-After to every token request of one User-Agent, while one with another User-Agent is served',
    remedy: [
      'Do not sign in again and do not retry: this is not a quota, and waiting does not help.',
      'Refresh with a client that the provider serves, and let the others read the credential that it stores.',
      'Ask the provider which clients may refresh such a login; it may be for its own clients only.',
    ],
    explains: ['refresh_failing', 'token_endpoint_unavailable'],
    detect: evidence => {
      const throttled = evidence.refreshes.filter(
        refresh =>
          isFailedRefresh(refresh) &&
          refresh.httpStatus === 429 &&
          refresh.retryAfterS === undefined &&
          refresh.requestUserAgentFingerprint !== undefined,
      )
      return grouped(throttled, ({ provider, requestUserAgentFingerprint: agent }) => `${provider} ${agent}`).flatMap(group =>
        throttledForAgent(evidence, group),
      )
    },
  },
]

function isUnavailable(refresh: TokenRequestEvent): boolean {
  const { httpStatus, errorType } = refresh
  if (!isFailedRefresh(refresh) || isRefusedForGood(refresh)) return false
  return httpStatus === undefined ? NEVER_SENT.has(errorType) : httpStatus >= 500 || httpStatus === 429
}

function unavailable(evidence: Evidence, about: Group<TokenRequestEvent>): Detected {
  const [{ profile, startMs }] = about
  const answers = countWords(about.map(({ httpStatus, errorType }) => String(httpStatus ?? errorType)))
  const waits = about.flatMap(({ retryAfterS }) => retryAfterS ?? [])
  const lastMs = lastEndMs(about)
  const again = evidence.refreshes.find(refresh => refresh.profile === profile && !isFailedRefresh(refresh) && refresh.startMs >= lastMs)
  const served = evidence.servedAttempts({ profile }, startMs, again?.startMs).length
  return {
    about,
    what: `${times(about.length, 'refresh')} failed with ${answers.map(({ word, count }) => `${word} (${count})`).join(', ')}${waits.length > 0 ? `, asked to wait up to ${greatest(waits)} s` : ''}; ${again ? `it works again since ${isoTime(again.startMs)}` : 'no refresh of this profile has worked since'}. ${served > 0 ? `${times(served, 'call')} went through meanwhile with the token that is still good.` : 'No call of this profile went through meanwhile.'}`,
    hypotheses: [
      excluded('token_rejected', 'the endpoint gave no verdict on the token'),
      excluded('request_shape', 'the endpoint gave no verdict on the request'),
    ],
  }
}

function isPage(event: TokenRequestEvent | AttemptEvent): boolean {
  const { httpStatus, answerType = '' } = event
  const isFailed = event.kind === 'attempt' ? event.isError : isFailedRefresh(event)
  return isFailed && (httpStatus === 403 || httpStatus === 429) && answerType.startsWith('text/html')
}

/** Every request that a provider may refuse, in order of time. */
function requestsOf({ refreshes, attempts, operations }: Evidence): RefusableRequest[] {
  return inOrder([...refreshes, ...attempts, ...operations])
}

/** `2 token requests and 1 call`. */
function requestsText(requests: Group<RefusableRequest>): string {
  const calls = requests.filter(({ kind }) => kind === 'attempt').length
  const others = requests.length - calls
  return [others > 0 && times(others, 'token request'), calls > 0 && times(calls, 'call')].filter(Boolean).join(' and ')
}

function throttledForAgent(evidence: Evidence, about: Group<TokenRequestEvent>): Detected[] {
  const [{ provider, startMs, requestUserAgentFingerprint: agent }] = about
  const untilMs = lastEndMs(about) + NEAR_MS
  const served = begunBetween(evidence.refreshes, startMs - NEAR_MS, untilMs).filter(
    refresh => refresh.provider === provider && !isFailedRefresh(refresh) && refresh.httpStatus === 200,
  )
  if (served.some(({ requestUserAgentFingerprint }) => requestUserAgentFingerprint === agent)) return []
  const others = served.filter(({ requestUserAgentFingerprint }) => requestUserAgentFingerprint !== undefined)
  const calls = evidence.servedAttempts({ provider }, startMs, untilMs).length
  const [other] = others
  if (!other && (about.length < FEWEST_ISOLATED || calls === 0)) return []
  return [
    {
      about,
      what: `${times(about.length, 'token request')} with User-Agent ${agent} (fingerprint) got 429 without Retry-After, none was served${other ? `, while ${other.caller.label} with User-Agent ${other.requestUserAgentFingerprint} was served ${times(others.length, 'time')}` : ''}${calls > 0 ? `; ${times(calls, 'call')} of the provider went through in the same time` : ''}.`,
      confidence: other ? 'likely' : 'possible',
      surerBy: other ? 'the same request with the other User-Agent' : 'one refresh by the client of the provider in the same time',
      hypotheses: [
        excluded('token_rejected', 'the answer concerns the rate of requests; the token was not judged'),
        ...(other ? [supported('request_shape', 'another User-Agent is served at the same endpoint in the same time')] : []),
      ],
    },
  ]
}
