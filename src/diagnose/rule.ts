import type { GatewatchEvent, TokenRequestEvent } from '../domain/events.ts'
import { callerPlace, type Evidence, grouped, inOrder, lastEndMs } from './evidence.ts'
import type { Confidence, Finding, FindingKind, FindingSeverity, Hypothesis, HypothesisVerdict, RankedCaller } from './finding.ts'
import { countWords, isoTime } from './messages.ts'
import { comparedShapes } from './request-shapes.ts'

/** A failure that `diagnose` looks for; docs/failures is written from the texts. */
export interface Rule {
  readonly kind: FindingKind
  readonly severity: FindingSeverity
  readonly title: string
  /** What the operator sees without telemetry. */
  readonly symptom: string
  /** The recorded facts that distinguish it from similar failures. */
  readonly detectedBy: string
  /** What to do, step by step. */
  readonly remedy: readonly string[]
  /** More general findings: one of them is left out where narrower findings are about all of its events. @default none */
  readonly explains?: readonly FindingKind[]
  /** Looks for the failure. @returns One entry for each time it is found: usually one a profile. */
  readonly detect: (evidence: Evidence) => readonly Detected[]
}

/** What a rule found, without what is read off the events. */
export interface Detected {
  /** The events that show it, in any order; at least one. */
  readonly about: readonly GatewatchEvent[]
  /** What happened, in words. */
  readonly what: string
  /** @default 'certain', or 'likely' where `surerBy` is given */
  readonly confidence?: Confidence
  /** What would make it more certain. */
  readonly surerBy?: string | undefined
  /** Where they differ from those of the rule. */
  readonly severity?: FindingSeverity | undefined
  readonly title?: string | undefined
  readonly remedy?: readonly string[] | undefined
  /** Events whose callers are ranked. @default `about` */
  readonly callers?: readonly GatewatchEvent[]
  /** The token request that is compared with the last one that worked. @default the last of `about` that failed */
  readonly request?: TokenRequestEvent | undefined
  readonly hypotheses?: readonly HypothesisVerdict[]
}

/** A finding with the events it is about, so that narrower findings can replace more general ones. */
export interface FindingDraft {
  readonly rule: Rule
  readonly finding: Finding
  readonly about: ReadonlySet<GatewatchEvent>
}

const MOST_CALLERS = 10
const MOST_PROCESSES = 5
const MOST_TRACES = 10

/** Completes a finding: times, counts, callers, request shape and traces are read off the events. */
export function findingDraft(rule: Rule, evidence: Evidence, detected: Detected): FindingDraft {
  const about = inOrder(detected.about)
  const [first] = about
  if (!first) throw new RangeError(`a finding of kind ${rule.kind} is about no event`)
  const { what, surerBy, confidence = surerBy === undefined ? 'certain' : 'likely', callers = about, hypotheses = [] } = detected
  const shape = comparedShapes(evidence, detected.request ?? about.findLast(isFailedTokenRequest))
  const finding: Finding = {
    kind: rule.kind,
    severity: detected.severity ?? rule.severity,
    title: detected.title ?? rule.title,
    what,
    seen: { count: about.length, first: isoTime(first.startMs), last: isoTime(lastEndMs(about)) },
    providers: distinct(about.map(({ provider }) => provider)),
    profiles: distinct(about.map(({ profile }) => profile)),
    callers: rankedCallers(callers).slice(0, MOST_CALLERS),
    reasons: countWords(about.map(event => ('reason' in event ? event.reason : undefined))),
    vias: countWords(about.map(viaOf)),
    outcomes: countWords(about.map(event => (event.kind === 'token_request' || event.kind === 'acquire' ? event.outcome : undefined))),
    ...(shape && { shape }),
    hypotheses,
    remedy: detected.remedy ?? rule.remedy,
    confidence,
    ...(surerBy !== undefined && { surerBy }),
    explains: [],
    traceIds: distinct(about.toReversed().map(({ traceId }) => traceId)).slice(0, MOST_TRACES),
  }
  return { rule, finding, about: new Set(about) }
}

/** The evidence supports the hypothesis. */
export function supported(hypothesis: Hypothesis, evidence: string): HypothesisVerdict {
  return { hypothesis, verdict: 'supported', evidence }
}

/** The evidence excludes the hypothesis. */
export function excluded(hypothesis: Hypothesis, evidence: string): HypothesisVerdict {
  return { hypothesis, verdict: 'excluded', evidence }
}

/** What a comparison of requests says about the third hypothesis; empty where the shape of one of them was not recorded. */
export function shapeVerdicts(evidence: Evidence, request: TokenRequestEvent | undefined): HypothesisVerdict[] {
  const shape = comparedShapes(evidence, request)
  if (!shape?.lastGood) return []
  return shape.differences.length === 0
    ? [excluded('request_shape', 'the failing request has the same fields, classes of values and encoding as the last one that worked')]
    : [supported('request_shape', `compared with the last request that worked: ${shape.differences.join('; ')}`)]
}

/** The callers of events, the most frequent first. */
function rankedCallers(events: readonly GatewatchEvent[]): RankedCaller[] {
  const groups = grouped(events, event => `${event.caller.label}\0${callerPlace(event) ?? ''}`)
  return groups.map(group => rankedCaller(group[0], group)).sort((a, b) => b.count - a.count)
}

function rankedCaller(first: GatewatchEvent, group: readonly GatewatchEvent[]): RankedCaller {
  const place = callerPlace(first)
  const processes = new Map(group.flatMap(({ process }) => (process ? [[process.pid, process] as const] : [])))
  return {
    caller: first.caller.label,
    ...(place !== undefined && { place }),
    count: group.length,
    via: distinct(group.map(viaOf)),
    processes: [...processes.values()].slice(0, MOST_PROCESSES).map(({ pid, role, title }) => ({ pid, role, title })),
  }
}

function isFailedTokenRequest(event: GatewatchEvent): event is TokenRequestEvent {
  return event.kind === 'token_request' && event.isError
}

function viaOf(event: GatewatchEvent): string | undefined {
  return 'via' in event ? event.via : undefined
}

function distinct(values: readonly (string | undefined)[]): string[] {
  return [...new Set(values)].filter(value => value !== undefined)
}
