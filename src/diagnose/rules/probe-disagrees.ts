import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_PERMANENT,
  ATTR_PROBE_OUTCOME,
  ATTR_PROFILE,
  ATTR_SKIP_REASON,
  EVENT_SKIPPED,
} from '../../../otel/semconv.ts'
import { byProfile, type Evidence, type InputSpan, isSameProcess } from '../evidence.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const NEAR_MS = 15 * 60_000
const REFUSED: ReadonlySet<string | undefined> = new Set(['auth', 'auth_permanent', 'billing'])
const PASSED_OVER: ReadonlySet<string | undefined> = new Set(['needs_login', 'missing_credential', 'expired'])

/** What is said where probe and calls use one token in one process: not the store makes the difference. */
const SAME_TOKEN = {
  title: 'The probe says that a profile is fine, and calls with the very same token are refused',
  remedy: [
    'Do not sign in again and do not refresh: the token works. The probe asks for the list of models only; a call needs more.',
    'Read status and code of the refused calls: billing speaks of plan or quota, 403 of a scope or region, 401 of a route that wants another token or account.',
    "Compare the address of the calls with the provider's (providers.<id>.baseUrl), and try the model and account in another client.",
  ],
}
const SAME_TOKEN_OF_DEAD_LOGIN = {
  title: 'The probe says that a profile is fine, and its login is dead: only its access token still works',
  remedy: [
    'Sign in again before the access token ends: the refresh token is refused for good.',
    'Do not wait for the probe to turn red: it asks with the access token, and never refreshes one that works.',
  ],
}
const DEAD_LOGIN = { title: 'The probe says that a profile is fine, and the login that its calls use is dead' }

/** The probe proves something else than what is used. */
export const probeDisagrees: Rule = {
  kind: 'probe_disagrees',
  severity: 'divergence',
  title: 'The probe says that a profile is fine, and its calls fail',
  symptom: 'The status is green and nothing works.',
  detectedBy:
    'a good probe and, after it, failures of the same profile for reasons of its credential; the processes and the fingerprints of the tokens that both used, which say whether the store differs or what the token is used for',
  remedy: [
    'Do not trust the probe until both use the same credential: probe from the gateway that fails (gatewatch status --probe against its address).',
    'Compare user, home folder, state folder and environment of the two processes named here: they read different stores.',
    'Where the store of the failing process holds a dead login, sign in there, or point it to the store of the other one.',
  ],
  explains: ['refresh_refused', 'refresh_failing', 'rejected_while_valid'],
  detect: evidence => {
    const good = evidence.probes.filter(probe => probe.text(ATTR_PROBE_OUTCOME) === 'ok')
    return [...byProfile(good)].flatMap(([profile, probes]) => look(evidence, profile, probes) ?? [])
  },
}

function look(evidence: Evidence, profile: string, probes: readonly InputSpan[]): FindingDraft | undefined {
  const probe = probes.at(-1)
  if (!probe) return undefined
  const around = failuresOf(evidence, profile).filter(({ startMs }) => Math.abs(startMs - probe.startMs) <= NEAR_MS)
  const after = around.filter(({ startMs }) => startMs >= probe.endMs)
  const last = after.at(-1)
  // What failed before the probe may have been mended by then.
  if (!last || hasRecovered(evidence, profile, last)) return undefined
  const probing = new Set(probes.flatMap(one => attemptsUnder(evidence, one)))
  const ofProbe = tokensOf(attemptsUnder(evidence, probe))
  const ofCalls = tokensOf(
    evidence.attempts.filter(attempt => attempt.profile === profile && isSameProcess(attempt, last) && !probing.has(attempt)),
  )
  const isOther = !isSameProcess(probe, last)
  const sharesToken = [...ofProbe].some(token => ofCalls.has(token))
  // One process reads one store: another token of it has come since the probe, and nothing contradicts that one.
  if (!isOther && !sharesToken && ofProbe.size > 0 && ofCalls.size > 0) return undefined
  return report(evidence, { probe, around, last, ofProbe, ofCalls, sharesToken, isSame: !isOther && sharesToken })
}

interface Divergence {
  readonly probe: InputSpan
  readonly around: readonly InputSpan[]
  readonly last: InputSpan
  readonly ofProbe: ReadonlySet<string>
  readonly ofCalls: ReadonlySet<string>
  readonly sharesToken: boolean
  /** The same token in the same process. */
  readonly isSame: boolean
}

function report(evidence: Evidence, divergence: Divergence): FindingDraft {
  const { probe, around, last, ofProbe, ofCalls, sharesToken, isSame } = divergence
  const tokens = ofProbe.size > 0 && ofCalls.size > 0 && !sharesToken
  const isDead = around.some(span => span.flag(ATTR_PERMANENT) === true)
  const words = isDead ? (isSame ? SAME_TOKEN_OF_DEAD_LOGIN : DEAD_LOGIN) : isSame ? SAME_TOKEN : {}
  const both = isSame
    ? ` Both used the access token ${[...ofProbe].filter(token => ofCalls.has(token)).join(', ')}.`
    : tokens
      ? ` They use different access tokens of the same profile (${[...ofProbe].join(', ')} and ${[...ofCalls].join(', ')}): they do not read the same store.`
      : ''
  return findingDraft(probeDisagrees, evidence, {
    about: [...around, probe].sort((a, b) => a.startMs - b.startMs),
    callers: around,
    ...(isDead && { severity: 'grant_dead' }),
    ...words,
    what: `The probe of ${new Date(probe.startMs).toISOString()} in ${processText(probe)} says ok; in ${isSame ? 'the same one' : processText(last)} ${howManyFailed(evidence, divergence)} around it, the last one after it.${both}`,
    confidence: tokens || isSame ? 'certain' : 'likely',
    ...(!tokens && !isSame && { surerBy: 'the fingerprints of the tokens that both use' }),
  })
}

function howManyFailed(evidence: Evidence, { probe, around, last }: Divergence): string {
  const ofProbes = new Set(evidence.probes.flatMap(one => evidence.childrenOf(one)))
  const calls = evidence.calls.filter(
    call => isSameProcess(call, last) && Math.abs(call.startMs - probe.startMs) <= NEAR_MS && !ofProbes.has(call),
  )
  if (calls.length === 0) return `${times(around.length, 'request')} failed`
  return `${calls.filter(({ isError }) => isError).length} of ${times(calls.length, 'call')} failed`
}

/** What failed at runtime for reasons of the profile's credential, in order of time. */
function failuresOf({ attempts, refreshes, calls }: Evidence, profile: string): InputSpan[] {
  const refused = attempts.filter(
    attempt => attempt.profile === profile && attempt.isError && REFUSED.has(attempt.text(ATTR_ATTEMPT_OUTCOME)),
  )
  const unrefreshed = refreshes.filter(refresh => refresh.profile === profile && refresh.isError)
  const passedOver = calls.filter(call =>
    call.events(EVENT_SKIPPED).some(event => event.text(ATTR_PROFILE) === profile && PASSED_OVER.has(event.text(ATTR_SKIP_REASON))),
  )
  return [...refused, ...unrefreshed, ...passedOver].sort((a, b) => a.startMs - b.startMs)
}

function hasRecovered({ attempts }: Evidence, profile: string, last: InputSpan): boolean {
  return attempts.some(
    attempt => attempt.isServed && attempt.profile === profile && attempt.startMs >= last.endMs && isSameProcess(attempt, last),
  )
}

function attemptsUnder(evidence: Evidence, probe: InputSpan): InputSpan[] {
  return evidence
    .childrenOf(probe)
    .flatMap(call => evidence.childrenOf(call))
    .filter(child => child.text(ATTR_ATTEMPT_OUTCOME) !== undefined)
}

function tokensOf(attempts: readonly InputSpan[]): Set<string> {
  return new Set(attempts.flatMap(attempt => attempt.text(ATTR_CREDENTIAL_FINGERPRINT) ?? []))
}

function processText({ process }: InputSpan): string {
  return process ? `process ${process.pid} (${process.role})` : 'its process'
}
