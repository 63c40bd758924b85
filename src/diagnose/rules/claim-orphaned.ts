import { ATTR_ERROR_TYPE, ATTR_TOKEN_REQUESTS } from '../../../otel/semconv.ts'
import { byProfile, type Evidence, type InputSpan } from '../evidence.ts'
import { excluded } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** Who fails at once has not waited for anybody. */
const WAITED_MS = 250
/** One waiter may have come at a bad moment. */
const FEWEST = 3

/** Everybody waits for a refresh that nobody makes. */
export const claimOrphaned: Rule = {
  kind: 'claim_orphaned',
  severity: 'storm',
  title: 'Every caller waits for a refresh that is claimed and never made',
  symptom: 'Every turn hangs for the same time and fails; nothing arrives at the token endpoint.',
  detectedBy: 'refresh after refresh that waits and ends without a single token request, and none that worked since',
  remedy: [
    'Find the claim of this profile (lock file, row or fence of the application) and look whether the process that made it is alive.',
    'If it is dead, take the claim away; then let one caller refresh. The token may have been sent before the process died: a refusal as "already used" means to sign in again.',
    'Let a claim name its process and have an end, or use a lease that is taken from a dead holder.',
  ],
  explains: ['refresh_failing'],
  detect: evidence => [...byProfile(evidence.refreshes).values()].flatMap(group => report(evidence, group) ?? []),
}

function report(evidence: Evidence, group: readonly InputSpan[]): FindingDraft | undefined {
  const lastGood = group.findLast(({ isError }) => !isError)
  const about = group.filter(refresh => refresh.startMs > (lastGood?.startMs ?? 0) && isIdleWait(refresh))
  if (about.length < FEWEST) return undefined
  const waits = about.map(({ durationMs }) => (durationMs / 1000).toFixed(1)).sort((a, b) => Number(a) - Number(b))
  const range = [...new Set([waits[0], waits.at(-1)])].join(' to ')
  const ends = [...new Set(about.flatMap(refresh => refresh.text(ATTR_ERROR_TYPE) ?? []))].join(', ')
  const asked = group.filter(({ startMs, status }) => startMs > (lastGood?.startMs ?? 0) && status !== undefined).length
  return findingDraft(claimOrphaned, evidence, {
    about,
    what: `${times(about.length, 'refresh')} waited ${range} s and gave up (${ends}) without one token request; ${lastGood ? `the last refresh that worked was at ${new Date(lastGood.startMs).toISOString()}` : 'none was seen to work before'}${asked === 0 ? ', and no caller has asked the token endpoint since' : ''}.`,
    confidence: 'likely',
    surerBy: 'the claim itself: which process made it, when, and whether that process is alive',
    hypotheses: [
      excluded('token_rejected', 'no token was sent, so none can have been rejected'),
      excluded('request_shape', 'no request was sent'),
    ],
  })
}

function isIdleWait(refresh: InputSpan): boolean {
  return refresh.isError && refresh.number(ATTR_TOKEN_REQUESTS) === 0 && refresh.durationMs >= WAITED_MS
}
