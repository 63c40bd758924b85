import { setImmediate as nextTurn } from 'node:timers/promises'
import { diag } from '@opentelemetry/api'
import { Evidence, type EvidenceReading, type Extent, InputSpan, type PlainSpan } from './evidence.ts'
import { CONFIDENCES, type ExplainedFinding, type Finding, type FindingKind, SEVERITIES } from './finding.ts'
import type { FindingDraft, Rule } from './rule.ts'
import { RULES } from './rules.ts'

export interface DiagnoseOptions {
  /** Names of one profile as telemetry may show it; only what concerns it is told. @default all profiles */
  readonly profile?: readonly string[]
  /** @default every rule there is */
  readonly rules?: readonly Rule[]
}

/** What `diagnose` says. */
export interface Diagnosis {
  /** The most harmful first; then the surest, then the latest. */
  readonly findings: readonly Finding[]
  /** Over what was looked, and for what. */
  readonly checked: Extent & {
    readonly rules: number
    /** Rules that a fault of ours ended, so that what they look for was not looked for. Absent where there is none. */
    readonly failedRules?: readonly FindingKind[]
  }
}

/** Looks for every failure there is a rule for. Pure: the evidence says it all. */
export function diagnose(evidence: Evidence, { profile, rules = RULES }: DiagnoseOptions = {}): Diagnosis {
  const failed: FindingKind[] = []
  const entries = rules.flatMap(rule => entriesOf(rule, evidence, failed))
  const diagnosis = concluded(entries, evidence, rules.length, failed)
  return profile === undefined ? diagnosis : concerning(diagnosis, profile)
}

/** Spans that are seen between two turns of the event loop. */
const SPANS_A_TURN = 2_000

/**
 * As `diagnose`, in steps: between two of them the event loop turns, so that a process that serves others goes on serving.
 *
 * @param spans A copy: what is recorded meanwhile does not belong to it.
 * @param gaps As for `Evidence`.
 */
export async function diagnoseInTurns(spans: Iterable<PlainSpan>, gaps?: EvidenceReading['gaps']): Promise<Diagnosis> {
  const seen: InputSpan[] = []
  for (const span of spans) {
    seen.push(new InputSpan(span))
    if (seen.length % SPANS_A_TURN === 0) await nextTurn()
  }
  await nextTurn()
  const evidence = new Evidence(seen, gaps && { gaps })
  const entries: AsyncEntry[] = []
  const failed: FindingKind[] = []
  for (const rule of RULES) {
    await nextTurn()
    entries.push(...entriesOf(rule, evidence, failed))
  }
  await nextTurn()
  return concluded(entries, evidence, RULES.length, failed)
}

/** A diagnosis with the findings alone that concern a profile. @param profile Its names, as telemetry may show them. */
export function concerning({ findings, checked }: Diagnosis, profile: readonly string[]): Diagnosis {
  return { findings: findings.filter(finding => concerns(finding, profile)), checked }
}

/** What a rule finds. A rule that throws finds nothing and is added to `failed`: the findings of the others must not go with it. */
function entriesOf(rule: Rule, evidence: Evidence, failed: FindingKind[]): AsyncEntry[] {
  try {
    return rule.detect(evidence).map(found => ({ rule, found, spans: new Set(found.about) }))
  } catch (error) {
    diag.error(`the rule ${rule.kind} failed`, error)
    failed.push(rule.kind)
    return []
  }
}

function concluded(entries: readonly AsyncEntry[], evidence: Evidence, rules: number, failedRules: readonly FindingKind[]): Diagnosis {
  const findings = entries
    .filter(one => !isExplained(one, entries))
    .map(one => ({ ...one.found.finding, explains: entries.filter(other => explains(one, other)).map(explained) }))
    .sort(bySeverity)
  return { findings, checked: { ...evidence.extent, rules, ...(failedRules.length > 0 && { failedRules }) } }
}

interface AsyncEntry {
  readonly rule: Rule
  readonly found: FindingDraft
  readonly spans: ReadonlySet<InputSpan>
}

/** Narrower findings, together about all the spans of a more general one, say why: the general one adds nothing to them. */
function isExplained(general: AsyncEntry, all: readonly AsyncEntry[]): boolean {
  const narrow = all.filter(other => explains(other, general))
  return narrow.length > 0 && general.found.about.every(span => narrow.some(({ spans }) => spans.has(span)))
}

function explains({ rule, spans }: AsyncEntry, { found: general }: AsyncEntry): boolean {
  return rule.explains?.includes(general.finding.kind) === true && general.about.some(span => spans.has(span))
}

function explained({ found: { finding } }: AsyncEntry): ExplainedFinding {
  return { kind: finding.kind, title: finding.title, count: finding.seen.count }
}

/** A finding that names no profile may be about any. */
function concerns({ profiles }: Finding, wanted: readonly string[]): boolean {
  return profiles.length === 0 || profiles.some(profile => wanted.includes(profile))
}

function bySeverity(a: Finding, b: Finding): number {
  return (
    SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
    CONFIDENCES.indexOf(a.confidence) - CONFIDENCES.indexOf(b.confidence) ||
    Date.parse(b.seen.last) - Date.parse(a.seen.last)
  )
}
