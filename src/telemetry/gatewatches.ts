import type { Labels } from '../../otel/semconv.ts'

/** The present value of a counter or gauge. */
export interface NumberPoint {
  readonly labels: Labels
  readonly value: number
}

/** One Gatewatch of this process; of this copy of the package or of another. */
interface ProcessMember {
  /** The values of a counter or gauge, by the name of the metric. */
  points(metric: string): Iterable<NumberPoint>
  /** Called once, when it is the one that records token requests: at once, or when the one before it has stopped. */
  lead(): void
  /** Watches one more token URL. */
  watch(tokenUrl: string, providerId: string): void
}

/** All Gatewatches of the process, the one that records token requests first. Every copy of the package finds them here. */
const MEMBERS = Symbol.for('gatewatch members')

/** What a Gatewatch is to the others of its process. */
export interface Membership {
  /** Whether it is the one that records token requests. */
  readonly isPrimary: boolean
  /** The values of a metric of every Gatewatch, those of equal labels as one. */
  sums(metric: string, kind: 'counter' | 'gauge'): Iterable<NumberPoint>
  /** Has the one that records token requests watch one more URL. */
  watch(tokenUrl: string, providerId: string): void
  leave(): void
}

/** Joins the Gatewatches of this process: two of them that recorded the same requests would count everything twice. */
export function joinProcess(member: ProcessMember): Membership {
  const members = membersOf(globalThis as { [MEMBERS]?: ProcessMember[] })
  members.push(member)
  if (members[0] === member) member.lead()
  return {
    get isPrimary() {
      return members[0] === member
    },
    sums: (metric, kind) => sumsOf(members, metric, kind),
    watch: (tokenUrl, providerId) => members[0]?.watch(tokenUrl, providerId),
    leave: () => {
      const place = members.indexOf(member)
      if (place < 0) return
      members.splice(place, 1)
      if (place === 0) members[0]?.lead()
    },
  }
}

/** Whether a Gatewatch is part of the application of this process. */
export function isEmbedded(): boolean {
  return ((globalThis as { [MEMBERS]?: ProcessMember[] })[MEMBERS]?.length ?? 0) > 0
}

function membersOf(holder: { [MEMBERS]?: ProcessMember[] }): ProcessMember[] {
  const known = holder[MEMBERS]
  if (known) return known
  const members: ProcessMember[] = []
  Object.defineProperty(holder, MEMBERS, { value: members, configurable: true })
  return members
}

function sumsOf(members: readonly ProcessMember[], metric: string, kind: 'counter' | 'gauge'): Iterable<NumberPoint> {
  const [only] = members
  if (only && members.length === 1) return only.points(metric)
  const sums = new Map<string, NumberPoint>()
  for (const member of members)
    for (const { labels, value } of member.points(metric)) {
      const key = JSON.stringify(Object.entries(labels).sort())
      const before = kind === 'counter' ? (sums.get(key)?.value ?? 0) : 0
      sums.set(key, { labels, value: before + value })
    }
  return sums.values()
}
