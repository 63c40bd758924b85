import { durationOf } from '../../domain/duration-text.ts'
import type { AttemptEvent, TokenRequestEvent } from '../../domain/events.ts'
import { byProfile, callerPlace, type Evidence, type Group, greatest, grouped, isSameProcess, least, stepsOf } from '../evidence.ts'
import { countsText, countWords, processName, times } from '../messages.ts'
import type { Detected, Rule } from '../rule.ts'

const WINDOW_MS = 10 * 60_000
/** Forced refreshes, or refreshes of young tokens, within the window: fewer may be an operator's. */
const FEWEST_OF_STORM = 5
/** A refresh of a token younger than this follows at once upon the one before. */
const YOUNG_S = 300
/** Rotations in a row that only requests for quota, status or models used. */
const FEWEST_POLLED = 4
/** Reasons that are intended: a timer that refreshes, a person, a token that the provider rejected. */
const INTENDED: ReadonlySet<string | undefined> = new Set(['scheduled', 'operator', 'rejected'])
/** `absolute` is left out: some providers always send that. */
const UNUSABLE: ReadonlySet<string | undefined> = new Set(['missing', 'zero', 'string', 'milliseconds'])
const GRANTED: ReadonlySet<string | undefined> = new Set(['rotated', 'renewed', 'not_persisted'])
/** The Date header counts whole seconds, and the network adds some: less than a minute may be latency. */
const LEAST_SKEW_S = 60
/** Of the header and of the way of the answer, both ways. */
const INACCURACY_S = 5

/** Tokens are refreshed that are good: by force, by a poller, for a wrong expiry, by a wrong clock. */
export const UNNEEDED_REFRESH_RULES: readonly Rule[] = [
  {
    kind: 'forced_refresh_storm',
    severity: 'storm',
    title: 'Tokens that are still valid are refreshed again and again',
    symptom: 'The token endpoint receives many refreshes of one login; it throttles, or two of them collide and the login ends.',
    detectedBy: 'the reason forced on many rotations, each long before the expiry; the callers that lead them',
    remedy: [
      'Stop the callers named here from forcing refreshes: a token is valid until its expiry.',
      'With the gate of Gatewatch: set gate.forced to "reuse", and forced acquisitions get the current token.',
      'A caller that the provider refused gives the reason rejected; the gate then refreshes.',
    ],
    detect: ({ refreshes }) =>
      byProfile(refreshes.filter(({ reason, outcome }) => reason === 'forced' && outcome === 'rotated')).flatMap(about => {
        const busiest = busiestWindow(about)
        if (busiest < FEWEST_OF_STORM) return []
        const callers = new Set(about.map(({ caller }) => caller.label)).size
        const left = about.flatMap(refresh => secondsLeft(refresh) ?? [])
        const isKnown = left.length === about.length
        return {
          about,
          what: `${times(about.length, 'forced rotation')}, up to ${busiest} of them within ten minutes, by ${times(callers, 'caller')}${left.length > 0 ? `; the token was valid for another ${durationOf(least(left) * 1_000)} or more each time` : ''}.`,
          surerBy: isKnown ? undefined : 'the expiry of the tokens in use: name the credential file, or let the calls be watched too',
        }
      }),
  },
  {
    kind: 'clock_skew',
    severity: 'warning',
    title: 'The clock of this machine is wrong by more than a minute',
    symptom: 'Ahead: tokens are refreshed too early, again and again. Behind: calls end in 401 token_expired before the expiry.',
    detectedBy: 'the Date header of the token endpoint compared with the local clock',
    remedy: [
      'Set the clock: run NTP (timedatectl, chronyc tracking), also in the virtual machine; a laptop may need a moment after sleep.',
      'No sign-in is needed: the login is valid.',
      'Compare with the clock of a second machine if the provider itself may be wrong.',
    ],
    explains: ['rejected_while_valid', 'same_token_retried', 'refresh_failing'],
    // A finding for each process: another one may run on another machine.
    detect: evidence =>
      grouped(
        evidence.refreshes.filter(({ clockSkewS = 0 }) => Math.abs(clockSkewS) >= LEAST_SKEW_S),
        ({ process, provider, clockSkewS = 0 }) => `${provider} ${process?.host} ${process?.pid} ${Math.sign(clockSkewS)}`,
      ).map(group => clockWrong(evidence, group)),
  },
  {
    kind: 'bad_expires_in',
    severity: 'warning',
    title: 'The token endpoint sends an unusable expires_in',
    symptom: 'A client refreshes before every call or fails with "response missing fields"; or it assumes a life of years and gets 401.',
    detectedBy: 'expires_in of the answer was missing, 0, a string or in milliseconds; how soon the next refresh followed',
    remedy: [
      'The gateway is not affected: it reads the expiry from the token itself, or assumes an hour.',
      'Look for other clients of the same login: one that trusts 0 or a missing value refreshes before each call. The callers are named here.',
      'Report it to the provider, with the request ids of the traces: RFC 6749 section 5.1 requires seconds, as a number.',
    ],
    explains: ['forced_refresh_storm'],
    detect: ({ refreshes }) => {
      // The field is only recommended: its absence counts where the provider was seen to send it.
      const sends = ({ outcome, refreshFingerprintAfter, expiresInRepaired }: TokenRequestEvent) =>
        GRANTED.has(outcome) && refreshFingerprintAfter !== undefined && expiresInRepaired !== 'missing'
      const senders = new Set(refreshes.filter(sends).map(({ provider }) => provider))
      const isWrong = ({ expiresInRepaired, provider }: TokenRequestEvent) =>
        UNUSABLE.has(expiresInRepaired) && (expiresInRepaired !== 'missing' || senders.has(provider))
      return grouped(refreshes.filter(isWrong), ({ provider }) => provider).map(expiryUnusable)
    },
  },
  {
    kind: 'poller_refreshes',
    severity: 'warning',
    title: 'A poller refreshes tokens that no model call uses',
    symptom: 'Tokens are rotated all night although no user works; each rotation may collide with another caller.',
    detectedBy: 'several rotations by one caller, with requests of the profile in between that call no model',
    remedy: [
      'Let the caller named here use the current token: a request for quota or status needs no refresh.',
      'If its token is refused, let it report that, and leave the refresh to the next model call.',
      'If the token must stay fresh, let one timer refresh it, with the reason scheduled.',
    ],
    explains: ['forced_refresh_storm'],
    detect: ({ refreshes, attempts }) => {
      const requests = Map.groupBy(attempts, ({ profile }) => profile)
      return byProfile(refreshes.filter(({ outcome, isError }) => !isError && (outcome === 'rotated' || outcome === 'renewed')))
        .flatMap(group => polledRuns(group, requests.get(group[0].profile) ?? []))
        .flatMap(run =>
          grouped(
            run.filter(({ reason, caller }) => !INTENDED.has(reason) && caller.label !== 'probe'),
            ({ caller }) => caller.label,
          ),
        )
        .filter(({ length }) => length >= FEWEST_POLLED)
        .map(group => polled(attempts, group))
    },
  },
]

/** The most events within any ten minutes. @param events in order of time */
function busiestWindow(events: readonly TokenRequestEvent[]): number {
  let most = 0
  let from = 0
  events.forEach(({ startMs }, index) => {
    while ((events[from]?.startMs ?? 0) < startMs - WINDOW_MS) from += 1
    most = Math.max(most, index - from + 1)
  })
  return most
}

/** How long the token in use was still good when it was refreshed. */
function secondsLeft(refresh: TokenRequestEvent): number | undefined {
  return stepsOf(refresh, 'credential_reloaded')[0]?.credentialExpiresInS ?? refresh.credentialExpiresInS
}

function clockWrong(evidence: Evidence, skewed: Group<TokenRequestEvent>): Detected {
  const [first] = skewed
  const isBehind = (first.clockSkewS ?? 0) > 0
  const most = greatest(skewed.map(({ clockSkewS = 0 }) => Math.abs(clockSkewS)))
  const rejected = isBehind ? evidence.attempts.filter(attempt => isRejectedByOtherClock(attempt, first, most)) : []
  const early = isBehind ? 0 : skewed.filter(isGoodByOtherClock).length
  const harm = isBehind
    ? `${times(rejected.length, 'call')} ended in 401 with time left to the expiry`
    : `${times(early, 'refresh')} of tokens that were expired by this clock, and may have been good by the other`
  const isSingle = skewed.length === 1 && rejected.length === 0
  return {
    about: [...skewed, ...rejected],
    what: `The clock of ${processName(first)} is ${most} s ${isBehind ? 'behind' : 'ahead of'} that of the token endpoint of ${first.provider}, by ${times(skewed.length, 'answer')}; ${harm}.`,
    surerBy: isSingle ? 'another answer of the token endpoint that shows the same, or the clock of the machine itself' : undefined,
  }
}

/** The token was expired by our clock, and not by that of the provider. */
function isGoodByOtherClock(refresh: TokenRequestEvent): boolean {
  const left = secondsLeft(refresh)
  const isDue = refresh.reason === 'expired' || refresh.reason === 'expiring'
  return isDue && left !== undefined && left + Math.abs(refresh.clockSkewS ?? 0) > 0
}

/** The token was expired by the clock of the provider, and not by ours. */
function isRejectedByOtherClock(attempt: AttemptEvent, refresh: TokenRequestEvent, skewS: number): boolean {
  const { httpStatus, outcome, provider, credentialExpiresInS: left } = attempt
  return (
    httpStatus === 401 &&
    (outcome === 'auth' || outcome === 'auth_permanent') &&
    left !== undefined &&
    left > 0 &&
    left <= skewS + INACCURACY_S &&
    provider === refresh.provider &&
    isSameProcess(attempt, refresh)
  )
}

function expiryUnusable(wrong: Group<TokenRequestEvent>): Detected {
  const kinds = countWords(wrong.map(({ expiresInRepaired }) => expiresInRepaired))
  const hurried = wrong.filter(({ tokenAgeS = Number.POSITIVE_INFINITY }) => tokenAgeS < YOUNG_S)
  const isLoop = busiestWindow(hurried) >= FEWEST_OF_STORM
  return {
    about: wrong,
    severity: isLoop ? 'storm' : undefined,
    title: isLoop ? 'Tokens are refreshed again and again: the token endpoint does not send their expiry' : undefined,
    what: `${times(wrong.length, 'answer')} of the token endpoint of ${wrong[0].provider} with an expires_in that cannot be used (${kinds.map(({ word, count }) => `${count} ${word}`).join(', ')})${isLoop ? `; ${times(hurried.length, 'refresh')} of tokens less than ${YOUNG_S / 60} minutes old` : ''}.`,
  }
}

/** Rotations in a row, with requests between each two of them, none of which calls a model; both lists are in order of time. */
function polledRuns(rotations: readonly TokenRequestEvent[], requests: readonly AttemptEvent[]): TokenRequestEvent[][] {
  const runs: TokenRequestEvent[][] = []
  let next = 0
  for (const rotation of rotations) {
    const from = next
    while ((requests[next]?.startMs ?? Number.POSITIVE_INFINITY) < rotation.startMs) next += 1
    const between = requests.slice(from, next)
    const run = runs.at(-1)
    if (run && between.length > 0 && !between.some(callsModel)) run.push(rotation)
    else runs.push([rotation])
  }
  return runs
}

function polled(attempts: readonly AttemptEvent[], about: Group<TokenRequestEvent>): Detected {
  const [first] = about
  const place = callerPlace(first)
  const reasons = countWords(about.map(({ reason }) => reason))
  const isForced = about.filter(({ reason }) => reason === 'forced').length * 2 > about.length
  const requests = attempts.filter(({ caller }) => caller.label === first.caller.label)
  const neverCalls = !requests.some(callsModel)
  const asks = countWords(requests.map(({ genaiOperation, httpMethod }) => genaiOperation ?? httpMethod)).map(({ word }) => word)
  const asksText = asks.length > 0 ? `, it asks for ${asks.join(', ')}` : ''
  return {
    about,
    severity: isForced ? 'storm' : undefined,
    title: isForced ? 'A poller forces refreshes of a token that no model call uses' : undefined,
    what: `${times(about.length, 'rotation')} (${countsText(reasons)}) by ${first.caller.label}${place ? ` (${place})` : ''}; between them the profile was asked about, and no model was called${neverCalls ? `; this caller never calls a model${asksText}` : ''}.`,
    surerBy: neverCalls ? undefined : 'watching every process that has this login: another one may have used the tokens',
  }
}

function callsModel({ genaiOperation }: AttemptEvent): boolean {
  return genaiOperation === 'chat'
}
