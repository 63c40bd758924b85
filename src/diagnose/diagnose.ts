import { setImmediate as nextTurn } from 'node:timers/promises'
import { diag } from '@opentelemetry/api'
import type { GatewatchEvent } from '../domain/events.ts'
import { Evidence, type EvidenceReading, type Extent } from './evidence.ts'
import { CONFIDENCES, type ExplainedFinding, type Finding, type FindingKind, SEVERITIES } from './finding.ts'
import { type FindingDraft, findingDraft, type Rule } from './rule.ts'
import { RULES } from './rules.ts'

interface DiagnoseOptions {
  /** Names of one profile as telemetry may show it: only findings that concern it are returned. @default all profiles */
  readonly profile?: readonly string[]
  /** @default every rule */
  readonly rules?: readonly Rule[]
}

/** What `diagnose` finds. */
export interface Diagnosis {
  /** The most harmful first; then the most certain, then the latest. */
  readonly findings: readonly Finding[]
  /** What was read, and by how many rules. */
  readonly checked: Extent & {
    readonly rules: number
    /** Rules that threw, a fault of Gatewatch: their failures were not looked for. Absent where there is none. */
    readonly failedRules?: readonly FindingKind[]
  }
}

/** Looks for every failure that has a rule. Pure: reads nothing but the evidence. */
export function diagnose(evidence: Evidence, { profile, rules = RULES }: DiagnoseOptions = {}): Diagnosis {
  const failed: FindingKind[] = []
  const drafts = rules.flatMap(rule => draftsOf(rule, evidence, failed))
  const diagnosis = concluded(drafts, evidence, rules.length, failed)
  return profile === undefined
    ? diagnosis
    : concerning(
        diagnosis,
        profile.map(name => evidence.loginName(name)),
      )
}

/** Events as an event store streams them, or as a copy holds them. */
export type EventStream = Iterable<GatewatchEvent> | AsyncIterable<GatewatchEvent>

/** Events that are read between two turns of the event loop. */
const EVENTS_A_TURN = 500

/**
 * As `diagnose`, in steps: between two of them the event loop turns, so that a process goes on serving.
 *
 * @param events A copy: events that are recorded meanwhile do not belong to it.
 * @param gaps As for `Evidence`.
 */
export async function diagnoseInTurns(events: EventStream, gaps?: EvidenceReading['gaps']): Promise<Diagnosis> {
  const read: GatewatchEvent[] = []
  for await (const event of events) {
    read.push(event)
    if (read.length % EVENTS_A_TURN === 0) await nextTurn()
  }
  await nextTurn()
  const evidence = new Evidence(read, gaps && { gaps })
  const drafts: FindingDraft[] = []
  const failed: FindingKind[] = []
  for (const rule of RULES) {
    await nextTurn()
    drafts.push(...draftsOf(rule, evidence, failed))
  }
  await nextTurn()
  return concluded(drafts, evidence, RULES.length, failed)
}

/** A diagnosis with the findings alone that concern a profile. @param profile Its names, as telemetry may show them. */
export function concerning({ findings, checked }: Diagnosis, profile: readonly string[]): Diagnosis {
  return { findings: findings.filter(finding => concerns(finding, profile)), checked }
}

/** What a rule finds. A rule that throws finds nothing and is added to `failed`; the findings of the others stay. */
function draftsOf(rule: Rule, evidence: Evidence, failed: FindingKind[]): FindingDraft[] {
  try {
    return rule.detect(evidence).map(detected => findingDraft(rule, evidence, detected))
  } catch (error) {
    diag.error(`the rule ${rule.kind} failed`, error)
    failed.push(rule.kind)
    return []
  }
}

function concluded(drafts: readonly FindingDraft[], evidence: Evidence, rules: number, failedRules: readonly FindingKind[]): Diagnosis {
  const findings = drafts
    .filter(draft => !isExplained(draft, drafts))
    .map(draft => ({ ...draft.finding, explains: drafts.filter(general => explains(draft, general)).map(explained) }))
    .sort(bySeverity)
  return { findings, checked: { ...evidence.extent, rules, ...(failedRules.length > 0 && { failedRules }) } }
}

/** Narrower findings, together about all events of a more general one, give the reason: the general one adds nothing. */
function isExplained(general: FindingDraft, all: readonly FindingDraft[]): boolean {
  const narrow = all.filter(other => explains(other, general))
  return narrow.length > 0 && [...general.about].every(event => narrow.some(({ about }) => about.has(event)))
}

function explains({ rule, about }: FindingDraft, general: FindingDraft): boolean {
  return rule.explains?.includes(general.finding.kind) === true && [...general.about].some(event => about.has(event))
}

function explained({ finding: { kind, title, seen } }: FindingDraft): ExplainedFinding {
  return { kind, title, count: seen.count }
}

/** A finding that names no profile may concern any. */
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
