import type { AttemptEvent, CallEvent, GatewatchEvent, ProbeEvent, TokenRequestEvent } from '../../domain/events.ts'
import {
  byProfile,
  type Evidence,
  endMsOf,
  type Group,
  grouped,
  inOrder,
  isRefusedForGood,
  isSameProcess,
  isServed,
  lastEndMs,
  lastOf,
  stepsOf,
} from '../evidence.ts'
import { answerText, countsText, countWords, isoTime, times } from '../messages.ts'
import type { Detected, Rule } from '../rule.ts'

/** A failure of the login this long before a call with a key is why the key was used. */
const CAUSE_MS = 10 * 60_000
/** Failures this long before and after a probe are compared with it. */
const PROBE_MS = 15 * 60_000

const CREDENTIAL_OUTCOMES: ReadonlySet<string | undefined> = new Set(['auth', 'auth_permanent', 'billing'])
const CREDENTIAL_SKIPS: ReadonlySet<string | undefined> = new Set(['needs_login', 'missing_credential', 'expired'])
/** Outcomes after which a profile rests. */
const RESTING_OUTCOMES: ReadonlySet<string | undefined> = new Set(['rate_limit', 'overloaded', 'auth', 'auth_permanent', 'billing'])
const NO_PROFILE_ERRORS: ReadonlySet<string | undefined> = new Set(['GW_ALL_PROFILES_FAILED', 'GW_NO_PROFILE'])

/** What ends each reason to skip a profile that no failed request shows, so that no other finding names it. */
const STANDING_REASONS: Readonly<Record<string, string>> = {
  expired: 'Replace the token that has expired (gatewatch profiles add), or sign in.',
  missing_credential: 'Store a credential for the profile (gatewatch login, gatewatch profiles add), or set the variable of its key.',
  excluded_by_order: 'Add the profile to the order in the settings.',
  billing_denied: 'Allow the fallback to a metered profile in the settings, or add a profile of the same billing.',
  mode_mismatch: 'Use an endpoint that a profile can serve, or add a profile for this one.',
}

/** Probe and calls use one token in one process: they do not read different stores. */
const SAME_TOKEN = {
  title: 'The probe reports a profile as working, and calls with the same token are refused',
  remedy: [
    'Do not sign in again and do not refresh: the token works. The probe asks for the list of models only; a call needs more.',
    'Check status and code of the refused calls: billing means plan or quota, 403 a scope or region, 401 a route that requires another token or account.',
    "Compare the address of the calls with the provider's (providers.<id>.baseUrl), and try the model and account in another client.",
  ],
}
const SAME_TOKEN_OF_DEAD_LOGIN = {
  title: 'The probe reports a profile as working, and its login is dead: only its access token still works',
  remedy: [
    'Sign in again before the access token expires: the refresh token is refused permanently.',
    'Do not wait for the probe to fail: it uses the access token, and never refreshes one that works.',
  ],
}
const DEAD_LOGIN = { title: 'The probe reports a profile as working, and the login that its calls use is dead' }

/** Which profile serves: fallback, rests, probes. */
export const PROFILE_RULES: readonly Rule[] = [
  {
    kind: 'silent_paid_fallback',
    severity: 'money_spent',
    title: 'Calls meant for a subscription are billed by use',
    symptom: 'Calls work, and the bill of an API key grows.',
    detectedBy:
      'calls of a metered profile in place of a subscription; in a watched process, calls with a key after calls with a login that failed',
    remedy: [
      'Repair the login that the calls were meant for: the other findings and the refreshes named here show why it fails.',
      'Until then, decide whether to pay: fallback.metered "deny" stops the fallback, and callers get an error instead.',
      'A client that must know reads the response header x-gatewatch-billing-changed.',
    ],
    explains: ['refresh_refused', 'refresh_failing'],
    detect: evidence => [...paidThroughGateway(evidence), ...paidInWatchedProcesses(evidence)],
  },
  {
    kind: 'all_profiles_resting',
    severity: 'warning',
    title: 'Every profile that could serve rests or fails',
    symptom: 'No model answers for a while; later all work again.',
    detectedBy: 'calls that failed at every one of several profiles, and calls that tried resting profiles because no other was left',
    remedy: [
      'Check each profile separately: a used-up quota returns at its reset, a refused login does not.',
      'Sign in again where the reason is auth; add a profile or a paid key where it is rate_limit or billing.',
      'Another model of the same profiles does not help while the profiles themselves rest.',
    ],
    explains: ['rejected_while_valid'],
    detect: evidence => {
      const unserved = evidence.calls.filter(call => call.isError && NO_PROFILE_ERRORS.has(call.errorType))
      return [...allResting(evidence, unserved), ...noneCanServe(evidence, unserved)]
    },
  },
  {
    kind: 'probe_disagrees',
    severity: 'divergence',
    title: 'The probe reports a profile as working, and its calls fail',
    symptom: 'The status is green, and every call fails.',
    detectedBy:
      'failures for the credential of a profile after a probe that worked; the processes and token fingerprints of both show what differs',
    remedy: [
      'Do not rely on the probe until both use the same credential: probe from the gateway that fails (gatewatch status --probe with its address).',
      'Compare user, home folder, state folder and environment of the two processes named here: they read different stores.',
      'If the store of the failing process holds a dead login, sign in there, or point it to the store of the other process.',
    ],
    explains: ['refresh_refused', 'refresh_failing', 'rejected_while_valid'],
    detect: evidence =>
      byProfile(evidence.probes.filter(({ outcome }) => outcome === 'ok')).flatMap(group => disagreement(evidence, group)),
  },
]

/** Calls of a gateway, Gatewatch's or one of the application's that notes its fallbacks. */
function paidThroughGateway(evidence: Evidence): Detected[] {
  const { calls, attempts, refreshes } = evidence
  const changed = inOrder([...calls, ...attempts]).filter(({ billingChanged }) => billingChanged === true)
  const paid = changed.filter(({ isError, billing }) => !isError && billing === 'metered')
  return grouped(paid, call => `${preferredBefore(call)} ${paidProfile(call)}`).map(group => {
    const preferred = preferredBefore(group[0])
    const lastMs = lastEndMs(group)
    const failures = refreshes.filter(
      ({ isError, outcome, profile, startMs }) => isError && outcome !== 'needs_login' && profile === preferred && startMs <= lastMs,
    )
    const reasons = countWords(group.map(call => stepsOf(call, 'fallback')[0]?.fallbackReason))
    const back =
      calls.find(call => isServed(call) && call.profile === preferred && call.startMs > lastMs) ??
      evidence.servedAttempts({ profile: preferred }, lastMs).find(attempt => !group.includes(attempt))
    return {
      about: [...failures, ...group],
      callers: group,
      what: `${times(group.length, 'call')} meant for ${preferred} went to ${paidProfile(group[0])}, which is billed by use (${countsText(reasons)})${causeText(failures)}. ${back ? `Since ${isoTime(back.startMs)} the subscription serves again.` : 'It goes on: no later call was served by the subscription.'}`,
    }
  })
}

/** The profile that was preferred before the first fallback. */
function preferredBefore(call: CallEvent | AttemptEvent): string | undefined {
  return stepsOf(call, 'fallback')[0]?.fallbackFrom
}

function paidProfile(call: CallEvent | AttemptEvent): string | undefined {
  return stepsOf(call, 'billing_changed').at(-1)?.fallbackTo ?? call.profile
}

/** A watched process names no profiles: its calls carried a login, the login failed, and calls carry a key since. */
function paidInWatchedProcesses({ attempts, refreshes }: Evidence): Detected[] {
  const watched = attempts.filter(({ billing, process }) => billing === undefined && process !== undefined)
  return grouped(watched, ({ process }) => `${process?.host} ${process?.pid}`).flatMap(group => {
    const good = group.filter(isServed)
    const login = good.findLast(({ credentialType }) => credentialType === 'token')
    const paid = good.filter(({ credentialType }) => credentialType === 'api_key')
    const [firstPaid] = paid
    // A process that uses login and key at the same time has not fallen back.
    if (!login || !firstPaid || firstPaid.startMs < login.startMs) return []
    const pid = login.process?.pid
    const isCause = ({ process, provider, startMs }: GatewatchEvent) =>
      process?.pid === pid && provider === login.provider && startMs >= login.startMs && startMs <= firstPaid.startMs
    const failures = [
      ...refreshes.filter(refresh => refresh.isError && isCause(refresh)),
      ...group.filter(attempt => attempt.httpStatus === 401 && isCause(attempt)),
    ]
    if (failures.length === 0 || firstPaid.startMs - lastEndMs(failures) > CAUSE_MS) return []
    return {
      about: [...failures, ...paid],
      callers: paid,
      what: `Process ${pid} called ${login.provider} with a login${causeText(failures)}; ${times(paid.length, 'call')} since then went to ${firstPaid.provider} with an API key, none with the login.`,
      surerBy: 'the order of profiles of that application: is the key meant to take over?',
    }
  })
}

function causeText(failures: readonly (TokenRequestEvent | AttemptEvent)[]): string {
  const last = failures.at(-1)
  return last
    ? `; before that ${times(failures.length, 'request')} with the login failed: ${last.httpStatus ?? 'no answer'} ${answerText(last) ?? ''}`.trimEnd()
    : ''
}

function allResting(evidence: Evidence, unserved: readonly CallEvent[]): Detected[] {
  const calls = unserved.filter(call => failedAtSeveral(evidence, call))
  const resting = calls.filter(({ lastResort }) => lastResort === true).length
  if (resting === 0) return []
  const attempts = calls.flatMap(call => evidence.attemptsOf(call))
  const reasons = countWords(attempts.map(attempt => `${attempt.profile}: ${answerText(attempt)}`))
  const models = [...new Set(attempts.flatMap(({ model }) => model ?? []))]
  const lastMs = lastEndMs(calls)
  const again = evidence.calls.find(call => isServed(call) && call.startMs >= lastMs && call.profile !== undefined)
  return [
    {
      about: [...calls, ...attempts],
      callers: calls,
      what: `${times(calls.length, 'call')} failed at every profile (${countsText(reasons)}); for ${resting} of them all profiles were resting already and were tried because no other was left${models.length > 1 ? `, with ${models.join(' and ')}` : ''}. ${again ? `${again.profile} serves again since ${isoTime(again.startMs)}.` : 'No call has worked since.'}`,
    },
  ]
}

/** Every profile failed for a reason for which a profile rests, or was skipped. */
function failedAtSeveral(evidence: Evidence, call: CallEvent): boolean {
  const attempts = evidence.attemptsOf(call)
  const profiles = new Set([...attempts, ...stepsOf(call, 'skipped')].map(({ profile }) => profile))
  return profiles.size > 1 && attempts.every(({ outcome }) => RESTING_OUTCOMES.has(outcome))
}

/** Calls that skipped every profile, and since which no call was served. */
function noneCanServe(evidence: Evidence, unserved: readonly CallEvent[]): Detected[] {
  const calls = unserved.filter(call => evidence.attemptsOf(call).length === 0 && skipsForStandingReasons(call))
  const lastMs = lastEndMs(calls)
  if (calls.length === 0 || evidence.calls.some(call => isServed(call) && call.startMs >= lastMs)) return []
  const skips = calls.flatMap(call => stepsOf(call, 'skipped'))
  const reasons = [...new Set(skips.map(({ profile, skipReason }) => `${profile}: ${skipReason}`))]
  return [
    {
      about: calls,
      title: 'No profile can serve a call',
      what: `${times(calls.length, 'call')} reached no provider, since each profile was skipped (${reasons.join(', ')}). No call has worked since.`,
      remedy: [...new Set(skips.flatMap(({ skipReason }) => STANDING_REASONS[skipReason ?? ''] ?? []))],
    },
  ]
}

function skipsForStandingReasons(call: CallEvent): boolean {
  const skips = stepsOf(call, 'skipped')
  return skips.length > 0 && skips.every(({ skipReason }) => Object.hasOwn(STANDING_REASONS, skipReason ?? ''))
}

function disagreement(evidence: Evidence, probes: Group<ProbeEvent>): Detected[] {
  const probe = lastOf(probes)
  const around = credentialFailures(evidence, probe.profile).filter(({ startMs }) => Math.abs(startMs - probe.startMs) <= PROBE_MS)
  const last = around.findLast(({ startMs }) => startMs >= endMsOf(probe))
  // What failed before the probe may have been corrected by then.
  if (!last || hasRecovered(evidence, probe.profile, last)) return []
  const tokens = comparedTokens(evidence, probes, last)
  // One process reads one store: its token was renewed after the probe, which says nothing about the new one.
  if (tokens === 'renewed') return []
  const { isSame } = tokens
  const isDead = around.some(event => event.kind === 'token_request' && isRefusedForGood(event))
  return [
    {
      about: [...around, probe],
      callers: around,
      severity: isDead ? 'grant_dead' : undefined,
      ...(isDead ? (isSame ? SAME_TOKEN_OF_DEAD_LOGIN : DEAD_LOGIN) : isSame && SAME_TOKEN),
      what: `The probe of ${isoTime(probe.startMs)} in ${roleText(probe)} says ok; in ${isSame ? 'the same one' : roleText(last)} ${failedCallsText(evidence, { probe, last, around })} around it, the last one after it.${tokens.text}`,
      surerBy: tokens.text === '' ? 'the fingerprints of the tokens that both use' : undefined,
    },
  ]
}

/** The access tokens of a probe beside those of the calls in the process of `last`, as a sentence; empty where too little is known. */
function comparedTokens(
  evidence: Evidence,
  probes: Group<ProbeEvent>,
  last: GatewatchEvent,
): 'renewed' | { readonly isSame: boolean; readonly text: string } {
  const probe = lastOf(probes)
  const probing = new Set(probes.flatMap(one => attemptsUnder(evidence, one)))
  const ofProbe = tokensOf(attemptsUnder(evidence, probe))
  const ofCalls = tokensOf(
    evidence.attempts.filter(attempt => attempt.profile === probe.profile && isSameProcess(attempt, last) && !probing.has(attempt)),
  )
  const shared = [...ofProbe].filter(token => ofCalls.has(token))
  const differs = ofProbe.size > 0 && ofCalls.size > 0 && shared.length === 0
  const isOneProcess = isSameProcess(probe, last)
  if (isOneProcess && differs) return 'renewed'
  if (isOneProcess && shared.length > 0) return { isSame: true, text: ` Both used the access token ${shared.join(', ')}.` }
  const text = differs
    ? ` They use different access tokens of the same profile (${[...ofProbe].join(', ')} and ${[...ofCalls].join(', ')}): they do not read the same store.`
    : ''
  return { isSame: false, text }
}

interface ProbedFailures {
  readonly probe: ProbeEvent
  readonly last: GatewatchEvent
  readonly around: readonly GatewatchEvent[]
}

function failedCallsText(evidence: Evidence, { probe, last, around }: ProbedFailures): string {
  const ofProbes = new Set(evidence.probes.flatMap(one => evidence.callsOf(one)))
  const calls = evidence.calls.filter(
    call => isSameProcess(call, last) && Math.abs(call.startMs - probe.startMs) <= PROBE_MS && !ofProbes.has(call),
  )
  if (calls.length === 0) return `${times(around.length, 'request')} failed`
  return `${calls.filter(({ isError }) => isError).length} of ${times(calls.length, 'call')} failed`
}

/** What failed for the credential of a profile, in order of time. */
function credentialFailures({ attempts, refreshes, calls }: Evidence, profile: string | undefined): GatewatchEvent[] {
  return inOrder<GatewatchEvent>([
    ...attempts.filter(attempt => attempt.profile === profile && attempt.isError && CREDENTIAL_OUTCOMES.has(attempt.outcome)),
    ...refreshes.filter(refresh => refresh.profile === profile && refresh.isError),
    ...calls.filter(call => stepsOf(call, 'skipped').some(skip => skip.profile === profile && CREDENTIAL_SKIPS.has(skip.skipReason))),
  ])
}

function hasRecovered({ attempts }: Evidence, profile: string | undefined, last: GatewatchEvent): boolean {
  return attempts.some(
    attempt => isServed(attempt) && attempt.profile === profile && attempt.startMs >= endMsOf(last) && isSameProcess(attempt, last),
  )
}

function attemptsUnder(evidence: Evidence, probe: ProbeEvent): AttemptEvent[] {
  return evidence.callsOf(probe).flatMap(call => evidence.attemptsOf(call))
}

function tokensOf(attempts: readonly AttemptEvent[]): Set<string> {
  return new Set(attempts.flatMap(({ credentialFingerprint }) => credentialFingerprint ?? []))
}

function roleText({ process }: GatewatchEvent): string {
  return process ? `process ${process.pid} (${process.role})` : 'its process'
}
