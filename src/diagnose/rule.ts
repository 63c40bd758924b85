import { ranked, wordsOf } from './counters.ts'
import type { Evidence, InputSpan } from './evidence.ts'
import type { Confidence, Finding, FindingKind, FindingSeverity, HypothesisVerdict } from './finding.ts'
import { greatest } from './range.ts'
import { comparedShapes } from './request-shapes.ts'

/** What a rule is and what it says: the docs are written from it. */
export interface Rule {
  readonly kind: FindingKind
  readonly severity: FindingSeverity
  readonly title: string
  /** What the operator sees before anybody looks at telemetry. */
  readonly symptom: string
  /** By which recorded facts it is distinguished from its neighbours. */
  readonly detectedBy: string
  /** What to do, step by step. */
  readonly remedy: readonly string[]
  /**
   * More general findings that this one explains: one of those is left out when this one is about all of its spans.
   * @default none
   */
  readonly explains?: readonly FindingKind[]
  /** Looks for it. @returns One entry for each time it is found: usually one a profile. */
  detect(evidence: Evidence): FindingDraft[]
}

/** A finding with the spans it is about; a more general finding about the same spans gives way to it. */
export interface FindingDraft {
  readonly finding: Finding
  readonly about: readonly InputSpan[]
}

/** What a rule says beyond what can be read off the spans. */
export interface FindingDraftOptions {
  /** The spans it is about, in order of time. Not empty. */
  readonly about: readonly InputSpan[]
  /** What was seen, in words. */
  readonly what: string
  readonly confidence: Confidence
  readonly surerBy?: string
  readonly severity?: FindingSeverity
  readonly title?: string
  readonly remedy?: readonly string[]
  /** Spans whose callers are to be ranked. @default `about` */
  readonly callers?: readonly InputSpan[]
  /** The refresh whose request is to be compared with the last good one of its profile. @default the last of `about` that is a failed refresh */
  readonly summarizeRequest?: InputSpan
  readonly hypotheses?: readonly HypothesisVerdict[]
}

const MOST_CALLERS = 10
const MOST_TRACES = 10

/** Puts a finding together: counts, callers, words, request shape and traces are read off the spans. */
export function findingDraft(rule: Rule, evidence: Evidence, options: FindingDraftOptions): FindingDraft {
  const { about, what, confidence, surerBy, callers = about, hypotheses = [] } = options
  const [first] = about
  if (!first) throw new RangeError(`a finding of kind ${rule.kind} is about no span`)
  const lastMs = greatest(about.map(({ endMs }) => endMs))
  const shape = comparedShapes(evidence, options.summarizeRequest ?? about.findLast(span => span.isError && span.via !== undefined))
  const finding: Finding = {
    kind: rule.kind,
    severity: options.severity ?? rule.severity,
    title: options.title ?? rule.title,
    what,
    seen: { count: about.length, first: iso(first.startMs), last: iso(lastMs) },
    providers: distinct(about.map(({ provider }) => provider)),
    profiles: distinct(about.map(({ profile }) => profile)),
    callers: ranked(callers).slice(0, MOST_CALLERS),
    reasons: wordsOf(about, ({ reason }) => reason),
    vias: wordsOf(about, ({ via }) => via),
    outcomes: wordsOf(about, ({ outcome }) => outcome),
    ...(shape && { shape }),
    hypotheses,
    remedy: options.remedy ?? rule.remedy,
    confidence,
    ...(surerBy !== undefined && { surerBy }),
    explains: [],
    traceIds: distinct(about.toReversed().map(({ traceId }) => traceId)).slice(0, MOST_TRACES),
  }
  return { finding, about }
}

/** `1 token request`, `3 token requests`. */
export function times(count: number, noun: string): string {
  if (count === 1) return `1 ${noun}`
  return `${count} ${noun}${noun.endsWith('sh') ? 'es' : 's'}`
}

function distinct(values: readonly (string | undefined)[]): string[] {
  return [...new Set(values)].filter(value => value !== undefined)
}

function iso(epochMs: number): string {
  return new Date(epochMs).toISOString()
}
