import type { Evidence, Extent, SeenSpan } from './evidence.ts'
import { CONFIDENCES, type ExplainedFinding, type Finding, HARMS } from './finding.ts'
import type { Found, Rule } from './rule.ts'
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
  readonly checked: Extent & { readonly rules: number }
}

/** Looks for every failure there is a rule for. Pure: the evidence says it all. */
export function diagnose(evidence: Evidence, { profile, rules = RULES }: DiagnoseOptions = {}): Diagnosis {
  const all = rules.flatMap(rule => rule.look(evidence).map(found => ({ rule, found, spans: new Set(found.about) })))
  const findings = all
    .filter(one => !isExplained(one, all))
    .map(one => ({ ...one.found.finding, explains: all.filter(other => explains(one, other)).map(explained) }))
    .filter(finding => profile === undefined || concerns(finding, profile))
    .sort(byHarm)
  return { findings, checked: { ...evidence.extent, rules: rules.length } }
}

interface Entry {
  readonly rule: Rule
  readonly found: Found
  readonly spans: ReadonlySet<SeenSpan>
}

/** Narrower findings, together about all the spans of a more general one, say why: the general one adds nothing to them. */
function isExplained(general: Entry, all: readonly Entry[]): boolean {
  const narrow = all.filter(other => explains(other, general))
  return narrow.length > 0 && general.found.about.every(span => narrow.some(({ spans }) => spans.has(span)))
}

function explains({ rule, spans }: Entry, { found: general }: Entry): boolean {
  return rule.explains?.includes(general.finding.kind) === true && general.about.some(span => spans.has(span))
}

function explained({ found: { finding } }: Entry): ExplainedFinding {
  return { kind: finding.kind, title: finding.title, count: finding.seen.count }
}

/** A finding that names no profile may be about any. */
function concerns({ profiles }: Finding, wanted: readonly string[]): boolean {
  return profiles.length === 0 || profiles.some(profile => wanted.includes(profile))
}

function byHarm(a: Finding, b: Finding): number {
  return (
    HARMS.indexOf(a.harm) - HARMS.indexOf(b.harm) ||
    CONFIDENCES.indexOf(a.confidence) - CONFIDENCES.indexOf(b.confidence) ||
    Date.parse(b.seen.last) - Date.parse(a.seen.last)
  )
}
