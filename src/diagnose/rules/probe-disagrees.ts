import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_PERMANENT,
  ATTR_PROBE_OUTCOME,
  ATTR_PROFILE,
  ATTR_SKIP_REASON,
  EVENT_SKIPPED,
} from '../../../otel/names.ts'
import { byProfile, type Evidence, isSameProcess, type SeenSpan } from '../evidence.ts'
import { type Found, found, type Rule, times } from '../rule.ts'

const NEAR_MS = 15 * 60_000
const REFUSED: ReadonlySet<string | undefined> = new Set(['auth', 'auth_permanent'])
const PASSED_OVER: ReadonlySet<string | undefined> = new Set(['needs_login', 'missing_credential', 'expired'])

/** The probe proves something else than what is used. */
export const probeDisagrees: Rule = {
  kind: 'probe_disagrees',
  harm: 'divergence',
  title: 'The probe says that a profile is fine, and its calls fail',
  symptom: 'The status is green and nothing works.',
  toldBy:
    'a good probe and, after it, failures of the same profile for reasons of its credential; the processes and the fingerprints of the tokens that both used',
  remedy: [
    'Do not trust the probe until both use the same credential: probe from the gateway that fails (gatewatch status --probe against its address).',
    'Compare user, home folder, state folder and environment of the two processes named here: they read different stores.',
    'Where the store of the failing process holds a dead login, sign in there, or point it to the store of the other one.',
  ],
  explains: ['refresh_refused', 'refresh_failing', 'rejected_while_valid'],
  look: evidence => {
    const good = evidence.probes.filter(probe => probe.text(ATTR_PROBE_OUTCOME) === 'ok')
    return [...byProfile(good)].flatMap(([profile, probes]) => look(evidence, profile, probes) ?? [])
  },
}

function look(evidence: Evidence, profile: string, probes: readonly SeenSpan[]): Found | undefined {
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
  // The same token in the same process: not the credential differs but what it is used for.
  if (!isOther && sharesToken) return undefined
  return tell(evidence, { probe, around, last, ofProbe, ofCalls, sharesToken })
}

interface Divergence {
  readonly probe: SeenSpan
  readonly around: readonly SeenSpan[]
  readonly last: SeenSpan
  readonly ofProbe: ReadonlySet<string>
  readonly ofCalls: ReadonlySet<string>
  readonly sharesToken: boolean
}

function tell(evidence: Evidence, { probe, around, last, ofProbe, ofCalls, sharesToken }: Divergence): Found {
  const calls = evidence.calls.filter(call => isSameProcess(call, last) && Math.abs(call.startMs - probe.startMs) <= NEAR_MS)
  const failed = calls.filter(({ isError }) => isError).length
  const tokens = ofProbe.size > 0 && ofCalls.size > 0 && !sharesToken
  const isDead = around.some(span => span.flag(ATTR_PERMANENT) === true)
  return found(probeDisagrees, evidence, {
    about: [...around, probe].sort((a, b) => a.startMs - b.startMs),
    callers: around,
    ...(isDead && { harm: 'grant_dead', title: 'The probe says that a profile is fine, and the login that its calls use is dead' }),
    what: `The probe of ${new Date(probe.startMs).toISOString()} in ${processText(probe)} says ok; in ${processText(last)} ${calls.length > 0 ? `${failed} of ${times(calls.length, 'call')} failed` : `${times(around.length, 'request')} failed`} around it, the last one after it${tokens ? `. They use different access tokens of the same profile (${[...ofProbe].join(', ')} and ${[...ofCalls].join(', ')}): they do not read the same store` : ''}.`,
    confidence: tokens ? 'certain' : 'likely',
    ...(!tokens && { surerBy: 'the fingerprints of the tokens that both use' }),
  })
}

/** What failed at runtime for reasons of the profile's credential, in order of time. */
function failuresOf({ attempts, refreshes, calls }: Evidence, profile: string): SeenSpan[] {
  const refused = attempts.filter(
    attempt => attempt.profile === profile && attempt.isError && REFUSED.has(attempt.text(ATTR_ATTEMPT_OUTCOME)),
  )
  const unrefreshed = refreshes.filter(refresh => refresh.profile === profile && refresh.isError)
  const passedOver = calls.filter(call =>
    call.events(EVENT_SKIPPED).some(event => event.text(ATTR_PROFILE) === profile && PASSED_OVER.has(event.text(ATTR_SKIP_REASON))),
  )
  return [...refused, ...unrefreshed, ...passedOver].sort((a, b) => a.startMs - b.startMs)
}

function hasRecovered({ attempts }: Evidence, profile: string, last: SeenSpan): boolean {
  return attempts.some(
    attempt => !attempt.isError && attempt.profile === profile && attempt.startMs >= last.endMs && isSameProcess(attempt, last),
  )
}

function attemptsUnder(evidence: Evidence, probe: SeenSpan): SeenSpan[] {
  return evidence
    .childrenOf(probe)
    .flatMap(call => evidence.childrenOf(call))
    .filter(child => child.text(ATTR_ATTEMPT_OUTCOME) !== undefined)
}

function tokensOf(attempts: readonly SeenSpan[]): Set<string> {
  return new Set(attempts.flatMap(attempt => attempt.text(ATTR_CREDENTIAL_FINGERPRINT) ?? []))
}

function processText({ process }: SeenSpan): string {
  return process ? `process ${process.pid} (${process.role})` : 'its process'
}
