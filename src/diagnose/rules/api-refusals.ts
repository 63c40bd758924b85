import { durationOf } from '../../domain/duration-text.ts'
import type { AttemptEvent } from '../../domain/events.ts'
import { ACCOUNT_CODES, REGION_CODE } from '../../domain/refusal-codes.ts'
import {
  begunBetween,
  byLogin,
  byProfile,
  callerPlace,
  type Evidence,
  endMsOf,
  type Group,
  grouped,
  isFailedRefresh,
  isSameProcess,
  isServed,
  lastOf,
} from '../evidence.ts'
import { callerText, isoTime, times } from '../messages.ts'
import type { Detected, Rule } from '../rule.ts'

/** Longest pause between two retries: 1, 2, 4 s and more. */
const LONGEST_PAUSE_MS = 60_000
/** Two refusals may be of two callers. */
const FEWEST_RETRIES = 3
const CONVERSATION_CODE = 'invalid_encrypted_content'
/** A conversation that began with the former token may go on for so long. */
const CONVERSATION_MS = 60 * 60_000

const STATIC_TOKEN = {
  title: 'The provider refuses a static token',
  remedy: [
    'Replace the token: create one at the provider and store it for the profile named here.',
    'If calls go to another address than the one of the provider, check whether the token belongs to that address.',
  ],
}

/** Refusals by the API of the provider, not by its token endpoint. */
export const API_REFUSAL_RULES: readonly Rule[] = [
  {
    kind: 'rejected_while_valid',
    severity: 'warning',
    title: 'The provider rejects access tokens that are not expired',
    symptom: 'Calls end in 401 hours or days before the expiry; a forced refresh may or may not help.',
    detectedBy: '401 from the API, not from the token endpoint, before the expiry; how the next refresh ended',
    remedy: [
      'If the next refresh worked, nothing needs to be done: the provider ended the access token early.',
      'Check whether a user signed in, signed out or changed the password of the account at that time: that ends access tokens.',
      'If the refresh was refused as well, the login is dead: sign in again.',
    ],
    detect: evidence =>
      byLogin(evidence.attempts.filter(attempt => isUnauthorized(attempt) && (attempt.credentialExpiresInS ?? 0) > 0)).map(about => {
        const [{ profile, startMs, providerErrorCode = '', credentialExpiresInS: left = 0 }] = about
        const tokens = new Set(about.map(tokenOf)).size
        const after = evidence.refreshes.filter(
          refresh => refresh.reason === 'rejected' && refresh.profile === profile && refresh.startMs >= startMs,
        )
        const helped = after.filter(({ outcome }) => outcome === 'rotated' || outcome === 'renewed').length
        return {
          about,
          what: `${times(about.length, 'call')} with ${times(tokens, 'access token')} ended in 401 ${providerErrorCode} with ${durationOf(left * 1_000)} to the expiry; ${after.length === 0 ? 'no refresh followed' : `${helped} of ${times(after.length, 'refresh')} after that brought a new token`}.`,
        }
      }),
  },
  {
    kind: 'endpoint_rejects_token',
    severity: 'warning',
    title: 'One endpoint refuses an access token that another one accepts',
    symptom:
      'Listing models ends in 401 while the model answers with the same token; a client refreshes, or rests the profile, for that 401.',
    detectedBy: '401 on one path and success on another one afterwards, with an access token of the same fingerprint',
    remedy: [
      'Do not refresh and do not sign in again: the token is valid, its other calls prove it.',
      'Change the caller named here to ignore a 401 of this path: it must neither refresh nor rest the profile.',
      'Check what this path requires in addition to the token: an account header, a scope, a plan, a newer client version.',
    ],
    explains: ['rejected_while_valid', 'same_token_retried'],
    detect: evidence =>
      grouped(evidence.attempts, ({ provider }) => provider).flatMap(attempts =>
        grouped(rejectedByOnePath(attempts), ({ urlPath }) => urlPath).map(about => onePath(evidence, attempts, about)),
      ),
  },
  {
    kind: 'same_token_retried',
    severity: 'warning',
    title: 'A call is retried with the token that was just refused',
    symptom: 'A turn takes seconds to fail, with several 401 and no refresh in between.',
    detectedBy: 'several 401 in a row for one caller and access token, without a refresh in between',
    remedy: [
      'Change the caller named here to stop at a 401: the same token gets the same answer. It should ask the gate for a newer one, or fail at once.',
      'Retry only 429, 5xx and broken connections.',
      'Then find out why the token is refused: the first 401 of the row matters.',
    ],
    explains: ['rejected_while_valid'],
    detect: evidence => grouped(rowsOf(evidence), ([{ caller, provider }]) => `${caller.label} ${provider}`).map(retried),
  },
  {
    kind: 'key_refused',
    severity: 'warning',
    title: 'The provider refuses an API key',
    symptom: 'Every call of one profile ends in 401 invalid_api_key; other profiles serve, or none does.',
    detectedBy: 'refusals of the credential by the API, for a profile with a key or static token, and no served call since',
    remedy: [
      'Replace the key: create one at the provider, put it in the variable of the profile named here (apiKeyEnv), and restart what reads it.',
      'If the variable holds the right key, check whether the provider has revoked it, and whether it belongs to the address that is called (baseUrl).',
    ],
    explains: ['rejected_while_valid'],
    detect: evidence =>
      byProfile(evidence.attempts).flatMap(attempts => {
        const about = attempts.slice(attempts.findLastIndex(isServed) + 1).filter(attempt => isKeyRefusal(evidence, attempt))
        const [first] = about
        const last = about.at(-1)
        if (!first || !last) return []
        const answer = [last.httpStatus, last.providerErrorCode].filter(word => word !== undefined).join(' ')
        return {
          about,
          ...(last.credentialType === 'token' && STATIC_TOKEN),
          what: `${times(about.length, 'call')} of profile ${first.profile} refused with ${answer}, the first one at ${isoTime(first.startMs)}; no call of the profile has worked since.`,
        }
      }),
  },
  {
    kind: 'session_broken_by_rotation',
    severity: 'warning',
    title: 'Conversations that began before a rotation are refused after it',
    symptom: 'Running conversations end in 400 invalid_encrypted_content; new ones work.',
    detectedBy: "the provider's code on 400 from the API after a rotation or a change of profile, and other calls that work",
    remedy: [
      'Let the application drop the encrypted parts (reasoning) of the history at this code, and send the turn again.',
      'Until then, restart the conversation.',
      'Keep a conversation on one profile and account: a change of either has the same effect.',
    ],
    detect: evidence =>
      byLogin(evidence.attempts.filter(({ isError, providerErrorCode }) => isError && providerErrorCode === CONVERSATION_CODE)).flatMap(
        group => conversationBroken(evidence, group),
      ),
  },
]

/** 401 that speaks of the access token. */
function isUnauthorized({ httpStatus, outcome }: AttemptEvent): boolean {
  return httpStatus === 401 && (outcome === 'auth' || outcome === 'auth_permanent')
}

function tokenOf({ credentialFingerprint }: AttemptEvent): string | undefined {
  return credentialFingerprint
}

/** Refusals by paths that served no call, of tokens that another path accepted afterwards. */
function rejectedByOnePath(attempts: readonly AttemptEvent[]): AttemptEvent[] {
  const rejected = attempts.filter(attempt => isUnauthorized(attempt) && tokenOf(attempt) !== undefined)
  const suspects = new Set(rejected.map(tokenOf))
  const accepted = Map.groupBy(
    attempts.filter(attempt => attempt.outcome === 'ok' && attempt.urlPath !== undefined && suspects.has(tokenOf(attempt))),
    tokenOf,
  )
  const good = new Set([...accepted.values()].flat().map(({ urlPath }) => urlPath))
  const proven = rejected.filter(refused =>
    accepted.get(tokenOf(refused))?.some(other => other.urlPath !== refused.urlPath && other.startMs > refused.startMs),
  )
  const guilty = new Set(proven.map(({ urlPath }) => urlPath).filter(path => path !== undefined && !good.has(path)))
  return rejected.filter(({ urlPath }) => guilty.has(urlPath))
}

function onePath({ refreshes }: Evidence, attempts: readonly AttemptEvent[], about: Group<AttemptEvent>): Detected {
  const [{ urlPath: path, startMs }] = about
  const last = lastOf(about)
  const tokens = new Set(about.map(tokenOf))
  const served = attempts.filter(
    attempt =>
      attempt.outcome === 'ok' && attempt.urlPath !== undefined && attempt.urlPath !== path && tokens.has(attempt.credentialFingerprint),
  )
  const paths = [...new Set(served.map(({ urlPath }) => urlPath))].join(', ')
  const refreshed = refreshes.filter(
    refresh => refresh.reason === 'rejected' && refresh.provider === last.provider && refresh.startMs >= startMs,
  ).length
  return {
    about,
    what: `${path} answered 401${last.providerErrorCode === undefined ? '' : ` ${last.providerErrorCode}`} to ${times(about.length, 'request')} while ${paths} served ${times(served.length, 'call')} with the same access token${refreshed > 0 ? `; ${times(refreshed, 'refresh')} followed that could not help` : ''}.`,
  }
}

/**
 * Rows of refusals of one caller, path and token, without a refresh or a success in between. A call that an application wraps does not
 * show its token: then they are those of one profile.
 */
function rowsOf(evidence: Evidence): Group<AttemptEvent>[] {
  const known = evidence.attempts.filter(attempt => tokenOf(attempt) !== undefined || isOfProfile(attempt))
  return grouped(known, retryKey).flatMap(attempts => {
    const rows: [AttemptEvent, ...AttemptEvent[]][] = []
    let before: AttemptEvent | undefined
    for (const attempt of attempts) {
      const row = rows.at(-1)
      if (!isUnauthorized(attempt)) before = undefined
      else {
        if (row && before && isRetry(evidence, before, attempt)) row.push(attempt)
        else rows.push([attempt])
        before = attempt
      }
    }
    return rows.filter(({ length }) => length >= FEWEST_RETRIES)
  })
}

function isOfProfile({ profile }: AttemptEvent): boolean {
  return profile !== undefined && profile !== 'unknown'
}

function retryKey(attempt: AttemptEvent): string {
  const { process, caller, urlPath, profile } = attempt
  return [process?.host, process?.pid, caller.label, callerPlace(attempt), urlPath, tokenOf(attempt) ?? profile].join('\0')
}

function isRetry({ refreshes }: Evidence, before: AttemptEvent, attempt: AttemptEvent): boolean {
  const pauseMs = attempt.startMs - endMsOf(before)
  if (pauseMs < 0 || pauseMs > LONGEST_PAUSE_MS) return false
  return !begunBetween(refreshes, before.startMs, attempt.startMs).some(
    refresh => refresh.provider === attempt.provider && isSameProcess(refresh, attempt),
  )
}

function retried(rows: Group<Group<AttemptEvent>>): Detected {
  const longest = rows.toSorted((a, b) => b.length - a.length)[0] ?? rows[0]
  const [first] = longest
  const { providerErrorCode, credentialExpiresInS: left, profile } = first
  const token = tokenOf(first)
  const answer = providerErrorCode === undefined ? '401' : `401 ${providerErrorCode}`
  const expiry = left === undefined ? '' : left > 0 ? `good for another ${durationOf(left * 1_000)}` : 'expired'
  return {
    about: rows.flat(),
    surerBy: token === undefined ? 'the tokens that were sent, which a call that an application wraps does not show' : undefined,
    what: `${callerText(first)} sent the access token ${token ?? `of profile ${profile}`} ${times(longest.length, 'time')} within ${durationOf(endMsOf(lastOf(longest)) - first.startMs)}, and got ${answer} each time, without a refresh in between${rows.length > 1 ? `; ${rows.length} such rows` : ''}.${expiry && ` By its own word the token is ${expiry}.`}`,
  }
}

function isKeyRefusal(evidence: Evidence, attempt: AttemptEvent): boolean {
  const { credentialType, outcome, providerErrorCode = '' } = attempt
  // A token of a watched application may be refreshed by code that is not watched; a gateway's own are static.
  const isStatic = credentialType === 'token' && evidence.byId(attempt.parentSpanId)?.kind === 'call'
  if (credentialType !== 'api_key' && !isStatic) return false
  // Region and account are other findings: another key changes neither.
  return (outcome === 'auth' || outcome === 'auth_permanent') && providerErrorCode !== REGION_CODE && !ACCOUNT_CODES.has(providerErrorCode)
}

function conversationBroken({ refreshes, attempts }: Evidence, group: Group<AttemptEvent>): Detected[] {
  const [first] = group
  const isBefore = ({ startMs }: { readonly startMs: number }) => startMs < first.startMs && startMs >= first.startMs - CONVERSATION_MS
  const rotation = refreshes.findLast(refresh => !isFailedRefresh(refresh) && refresh.profile === first.profile && isBefore(refresh))
  const former = attempts.findLast(
    attempt => isServed(attempt) && attempt.caller.label === first.caller.label && attempt.profile !== first.profile && isBefore(attempt),
  )
  const cause = rotation ?? former
  if (!cause) return []
  const works = attempts.filter(attempt => isServed(attempt) && attempt.profile === first.profile && attempt.startMs > first.startMs)
  const secondsAfter = Math.max(0, Math.round((first.startMs - endMsOf(cause)) / 1000))
  return [
    {
      about: [cause, ...group],
      callers: group,
      what: `${times(group.length, 'call')} ended in ${first.httpStatus} ${CONVERSATION_CODE}, the first ${secondsAfter} s after ${rotation ? `${rotation.caller.label} had the token rotated (${rotation.reason})` : `its caller had used profile ${former?.profile}`}${works.length > 0 ? `; ${times(works.length, 'other call')} of the profile worked after that: login and token are valid` : ''}.`,
      confidence: works.length > 0 ? 'likely' : 'possible',
      surerBy: 'an id of the conversation in the history of the application: did it begin before the rotation?',
    },
  ]
}
