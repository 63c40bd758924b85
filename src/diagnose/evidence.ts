import {
  ATTR_ATTEMPT_OUTCOME,
  EVENT_LEASE_REQUESTED,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_EXCHANGE,
  SPAN_LOGIN,
  SPAN_PROBE,
  SPAN_REFRESH,
  SPAN_REVOKE,
  SPAN_SIDE_CHANNEL,
} from '../../otel/semconv.ts'
import { type InputProcess, InputSpan, type PlainSpan } from './input-span.ts'

export type { InputEvent, InputProcess, PlainEvent, PlainSpan } from './input-span.ts'
export { InputSpan } from './input-span.ts'

/** Over what was looked. Times are epoch ms; `undefined` when there is nothing. */
export interface Extent {
  readonly spans: number
  /** Recorded rows that are damaged and were left out. */
  readonly unreadable: number
  /** Spans of the time that was asked for that are older than the newest ones, to which the reading is bounded; about. */
  readonly leftOut: number
  readonly firstMs: number | undefined
  readonly lastMs: number | undefined
  readonly profiles: readonly string[]
  readonly processes: number
  /** How often each kind of span was there. */
  readonly counts: Readonly<Record<'refreshes' | 'acquisitions' | 'calls' | 'attempts' | 'probes', number>>
}

/** Spans on their way into evidence, so that a long reading can be shown. */
export type OnRead = (spans: number) => void

/** How evidence is read. */
export interface EvidenceReading {
  /** Called now and then with the number of spans that were read. */
  readonly onRead?: OnRead
  /** Asked once all are read: what could not be. */
  readonly gaps?: () => Pick<Extent, 'unreadable' | 'leftOut'>
}

const OPERATIONS: ReadonlySet<string> = new Set([SPAN_LOGIN, SPAN_EXCHANGE, SPAN_REVOKE])
const REPORT_EVERY = 10_000
const NO_GAPS = { unreadable: 0, leftOut: 0 } as const

/**
 * What was recorded, as rules see it: read once, sorted by time, nothing else. Wherever the spans come from, a rule
 * cannot tell.
 */
export class Evidence {
  /** Token requests of any kind of door: refreshes of the gate, bypasses, and what watched processes sent. */
  readonly refreshes: readonly InputSpan[]
  /** Those of the refreshes that the gate of this very project flew: they have lease, persist and publish events. */
  readonly gateRefreshes: readonly InputSpan[]
  readonly acquisitions: readonly InputSpan[]
  /** Provider calls as their callers see them, over all attempts. */
  readonly calls: readonly InputSpan[]
  /** Single requests to a provider. */
  readonly attempts: readonly InputSpan[]
  readonly probes: readonly InputSpan[]
  /** Logins, code exchanges and revocations. */
  readonly operations: readonly InputSpan[]
  readonly sideChannels: readonly InputSpan[]
  readonly extent: Extent
  readonly #byId = new Map<string, InputSpan>()
  readonly #children = new Map<string, InputSpan[]>()
  readonly #sent = new Map<string, InputSpan[]>()
  readonly #received = new Map<string, InputSpan>()

  /** Reads spans, in any order. Evidence keeps what it needs of them and may be asked as often as one likes. */
  constructor(spans: Iterable<PlainSpan | InputSpan>, { onRead = () => {}, gaps = () => NO_GAPS }: EvidenceReading = {}) {
    const all: InputSpan[] = []
    for (const span of spans) {
      all.push(span instanceof InputSpan ? span : new InputSpan(span))
      if (all.length % REPORT_EVERY === 0) onRead(all.length)
    }
    all.sort((a, b) => a.startMs - b.startMs)
    const byName = Map.groupBy(all, ({ name }) => name)
    const named = (name: string) => byName.get(name) ?? []
    this.refreshes = named(SPAN_REFRESH)
    this.gateRefreshes = this.refreshes.filter(span => span.hasEvent(EVENT_LEASE_REQUESTED))
    this.acquisitions = named(SPAN_ACQUIRE)
    this.calls = named(SPAN_CALL)
    this.attempts = all.filter(span => span.name !== SPAN_CALL && span.text(ATTR_ATTEMPT_OUTCOME) !== undefined)
    this.probes = named(SPAN_PROBE)
    this.operations = all.filter(({ name }) => OPERATIONS.has(name))
    this.sideChannels = named(SPAN_SIDE_CHANNEL)
    for (const span of all) this.#enter(span)
    this.extent = { ...extentOf(all, this), ...gaps() }
  }

  /** The span of that id, as a link or a parent names it. */
  byId(spanId: string | undefined): InputSpan | undefined {
    return spanId === undefined ? undefined : this.#byId.get(spanId)
  }

  /** Spans that hang directly under this one: the attempts of a call, the acquisitions it made. */
  childrenOf(span: InputSpan): readonly InputSpan[] {
    return this.#children.get(span.spanId) ?? []
  }

  /** Refreshes that sent the refresh token of that fingerprint, the first one first. */
  sendersOf(fingerprint: string | undefined): readonly InputSpan[] {
    return (fingerprint === undefined ? undefined : this.#sent.get(fingerprint)) ?? []
  }

  /** The refresh that brought the refresh token of that fingerprint. */
  issuerOf(fingerprint: string | undefined): InputSpan | undefined {
    return fingerprint === undefined ? undefined : this.#received.get(fingerprint)
  }

  /** The refresh that used up the token this refresh sent: it got another one for it. `undefined` when nobody was seen to. */
  rotationOf(refresh: InputSpan): InputSpan | undefined {
    return this.sendersOf(refresh.sent).find(
      other =>
        other !== refresh &&
        other.outcome === 'rotated' &&
        // One that began when this one had ended already did not harm it.
        other.startMs < refresh.endMs &&
        (other.received === undefined || other.received !== refresh.sent),
    )
  }

  #enter(span: InputSpan): void {
    this.#byId.set(span.spanId, span)
    if (span.parentSpanId !== undefined) append(this.#children, span.parentSpanId, span)
    if (span.name !== SPAN_REFRESH) return
    const { sent, received } = span
    if (sent) append(this.#sent, sent, span)
    if (received && received !== sent) this.#received.set(received, span)
  }
}

/** Spans by the profile they are about; spans that name none are left out. */
export function byProfile(spans: readonly InputSpan[]): ReadonlyMap<string, readonly InputSpan[]> {
  return Map.groupBy(
    spans.filter(({ profile }) => profile !== undefined),
    ({ profile = '' }) => profile,
  )
}

/** Says whether both were recorded by one process; where a recorder holds one process only, they were. */
export function isSameProcess(a: InputSpan, b: InputSpan): boolean {
  return processKey(a.process) === processKey(b.process)
}

function processKey(process: InputProcess | undefined): string {
  return process ? `${process.host} ${process.pid}` : ''
}

function append(map: Map<string, InputSpan[]>, key: string, span: InputSpan): void {
  const known = map.get(key)
  if (known) known.push(span)
  else map.set(key, [span])
}

function extentOf(
  all: readonly InputSpan[],
  { refreshes, acquisitions, calls, attempts, probes }: Evidence,
): Omit<Extent, 'unreadable' | 'leftOut'> {
  const profiles = new Set<string>()
  const processes = new Set<InputProcess | undefined>()
  let lastMs: number | undefined
  for (const span of all) {
    const { profile, process, endMs } = span
    if (profile !== undefined) profiles.add(profile)
    processes.add(process)
    lastMs = lastMs === undefined ? endMs : Math.max(lastMs, endMs)
  }
  return {
    spans: all.length,
    firstMs: all[0]?.startMs,
    lastMs,
    profiles: [...profiles].sort(),
    processes: new Set([...processes].map(processKey)).size,
    counts: {
      refreshes: refreshes.length,
      acquisitions: acquisitions.length,
      calls: calls.length,
      attempts: attempts.length,
      probes: probes.length,
    },
  }
}
