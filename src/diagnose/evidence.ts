import type {
  AcquireEvent,
  AttemptEvent,
  CallEvent,
  EventKind,
  EventProcess,
  EventStep,
  GatewatchEvent,
  LoginEvent,
  ProbeEvent,
  StepName,
  TokenRequestEvent,
} from '../domain/events.ts'
import { isPermanent } from '../domain/token-request-outcome.ts'
import { loginNames, underLoginNames } from './login-names.ts'

/** What was read. Times are epoch ms; `undefined` when there is nothing. */
export interface Extent {
  /** Events that were read. */
  readonly events: number
  /** Recorded rows that are damaged and were left out. */
  readonly unreadable: number
  /** Older events of the requested time that were not read, since only so many of the newest are; an estimate. */
  readonly leftOut: number
  readonly firstMs: number | undefined
  readonly lastMs: number | undefined
  readonly profiles: readonly string[]
  readonly processes: number
  /** Number of events of each kind. */
  readonly counts: Readonly<Record<'refreshes' | 'acquisitions' | 'calls' | 'attempts' | 'probes', number>>
}

/** Called with the number of events that were read so far, so that a long reading can show its progress. */
export type OnRead = (events: number) => void

/** How evidence is read. */
export interface EvidenceReading {
  readonly onRead?: OnRead
  /** Called once all events are read: what could not be read. */
  readonly gaps?: () => Pick<Extent, 'unreadable' | 'leftOut'>
}

const REPORT_EVERY = 10_000
const NO_GAPS = { unreadable: 0, leftOut: 0 } as const

/** Recorded events as rules read them: by kind, in order of time. Rules see the same whatever the events were read from; each login goes by one name. */
export class Evidence {
  /** Token requests that refresh a login: of the gate, past it, and of watched processes. */
  readonly refreshes: readonly TokenRequestEvent[]
  /** Those of the refreshes that the gate of Gatewatch ran: only they have steps for lease, storing and publishing. */
  readonly gateRefreshes: readonly TokenRequestEvent[]
  readonly acquisitions: readonly AcquireEvent[]
  /** Provider calls as their callers see them, over all attempts. */
  readonly calls: readonly CallEvent[]
  readonly attempts: readonly AttemptEvent[]
  readonly probes: readonly ProbeEvent[]
  /** Logins, code exchanges and revocations. A device login is part of a login, and is left out here. */
  readonly operations: readonly (LoginEvent | TokenRequestEvent)[]
  readonly extent: Extent
  readonly #loginNames: ReadonlyMap<string, string>
  readonly #byId = new Map<string, GatewatchEvent>()
  readonly #children = new Map<string, GatewatchEvent[]>()
  readonly #sent = new Map<string, TokenRequestEvent[]>()
  readonly #received = new Map<string, TokenRequestEvent>()

  /** @param events In any order. */
  constructor(events: Iterable<GatewatchEvent>, { onRead = () => {}, gaps = () => NO_GAPS }: EvidenceReading = {}) {
    const read: GatewatchEvent[] = []
    for (const event of events) {
      read.push(event)
      if (read.length % REPORT_EVERY === 0) onRead(read.length)
    }
    read.sort(byStart)
    this.#loginNames = loginNames(read)
    const all = underLoginNames(read, this.#loginNames)
    const kinds = Map.groupBy(all, ({ kind }) => kind)
    const ofKind = <K extends EventKind>(kind: K) => (kinds.get(kind) ?? []) as Extract<GatewatchEvent, { kind: K }>[]
    const tokenRequests = ofKind('token_request')
    this.refreshes = tokenRequests.filter(({ grant }) => grant !== 'other')
    this.gateRefreshes = this.refreshes.filter(refresh => hasStep(refresh, 'lease_requested'))
    this.acquisitions = ofKind('acquire')
    this.calls = ofKind('call')
    this.attempts = ofKind('attempt')
    this.probes = ofKind('probe')
    this.operations = [
      ...ofKind('login').filter(({ operation }) => operation !== 'device'),
      ...tokenRequests.filter(({ grant }) => grant === 'other'),
    ]
    for (const event of all) {
      this.#byId.set(event.spanId, event)
      if (event.parentSpanId !== undefined) append(this.#children, event.parentSpanId, event)
    }
    for (const refresh of this.refreshes) this.#indexTokens(refresh)
    this.extent = { ...extentOf(all, this), ...gaps() }
  }

  /** The name under which the events of a login are read. @param profile Any name that one of them has. */
  loginName(profile: string): string {
    return this.#loginNames.get(profile) ?? profile
  }

  /** The event whose span a link or a parent refers to. */
  byId(spanId: string | undefined): GatewatchEvent | undefined {
    return spanId === undefined ? undefined : this.#byId.get(spanId)
  }

  /** The attempts of a call. */
  attemptsOf(call: CallEvent): readonly AttemptEvent[] {
    return this.#childrenOf(call).filter(child => child.kind === 'attempt')
  }

  /** The attempts for a profile or provider that were served, by when they began. */
  servedAttempts(of: Partial<Pick<AttemptEvent, 'profile' | 'provider'>>, fromMs: number, toMs = Number.POSITIVE_INFINITY): AttemptEvent[] {
    const isOf = (attempt: AttemptEvent) => ('profile' in of ? attempt.profile === of.profile : attempt.provider === of.provider)
    return this.attempts.filter(attempt => isOf(attempt) && isServed(attempt) && attempt.startMs >= fromMs && attempt.startMs <= toMs)
  }

  /** The calls that a probe made. */
  callsOf(probe: ProbeEvent): readonly CallEvent[] {
    return this.#childrenOf(probe).filter(child => child.kind === 'call')
  }

  /** Refreshes that sent the refresh token of that fingerprint, the first one first. */
  sendersOf(fingerprint: string | undefined): readonly TokenRequestEvent[] {
    return (fingerprint === undefined ? undefined : this.#sent.get(fingerprint)) ?? []
  }

  /** The refresh that brought the refresh token of that fingerprint. */
  issuerOf(fingerprint: string | undefined): TokenRequestEvent | undefined {
    return fingerprint === undefined ? undefined : this.#received.get(fingerprint)
  }

  /** The other refresh that used up the token which this one sent: it got a new one for it. */
  rotationOf(refresh: TokenRequestEvent): TokenRequestEvent | undefined {
    const sent = refresh.refreshFingerprintBefore
    return this.sendersOf(sent).find(
      other =>
        other !== refresh &&
        other.outcome === 'rotated' &&
        // A rotation that begins after this refresh has ended cannot be why it failed.
        other.startMs < endMsOf(refresh) &&
        (other.refreshFingerprintAfter === undefined || other.refreshFingerprintAfter !== sent),
    )
  }

  #childrenOf({ spanId }: GatewatchEvent): readonly GatewatchEvent[] {
    return this.#children.get(spanId) ?? []
  }

  #indexTokens(refresh: TokenRequestEvent): void {
    const { refreshFingerprintBefore: sent, refreshFingerprintAfter: received } = refresh
    if (sent) append(this.#sent, sent, refresh)
    if (received && received !== sent) this.#received.set(received, refresh)
  }
}

export function endMsOf({ startMs, durationMs }: Pick<GatewatchEvent, 'startMs' | 'durationMs'>): number {
  return startMs + durationMs
}

/** The latest end of some events. */
export function lastEndMs(events: readonly GatewatchEvent[]): number {
  return greatest(events.map(endMsOf))
}

/** Events in order of time. */
export function inOrder<E extends GatewatchEvent>(events: Iterable<E>): E[] {
  return [...events].sort(byStart)
}

/** The events that began within a range of time, both ends included. @param events in order of time */
export function begunBetween<E extends GatewatchEvent>(events: readonly E[], fromMs: number, toMs: number): readonly E[] {
  return events.slice(firstFrom(events, fromMs), firstFrom(events, toMs, true))
}

/** A call or an attempt that went well: it did not fail, and its caller did not abort it. */
export function isServed({ isError, outcome }: CallEvent | AttemptEvent): boolean {
  return !isError && outcome !== 'aborted'
}

/** A refresh that failed. One that was throttled has no error where its caller had a good token, and failed all the same. */
export function isFailedRefresh({ isError, outcome }: TokenRequestEvent): boolean {
  return isError || outcome === 'throttled'
}

/** The token endpoint, or the gate, refused for good: only a new login helps. */
export function isRefusedForGood({ isError, outcome }: TokenRequestEvent): boolean {
  return isError && outcome !== undefined && isPermanent(outcome)
}

/** Says whether both were recorded by one process; where a store holds one process only, they were. */
export function isSameProcess(a: GatewatchEvent, b: GatewatchEvent): boolean {
  return processKey(a.process) === processKey(b.process)
}

/** The steps of that name. */
export function stepsOf({ steps }: GatewatchEvent, wanted: StepName): EventStep[] {
  return steps.filter(({ name }) => name === wanted)
}

export function hasStep({ steps }: GatewatchEvent, wanted: StepName): boolean {
  return steps.some(({ name }) => name === wanted)
}

/** `src/agent.ts:12`; `undefined` for a client of the gateway. */
export function callerPlace({ caller: { file, line } }: GatewatchEvent): string | undefined {
  return file === undefined ? undefined : `${file}:${line ?? 0}`
}

/** At least one. */
export type Group<E> = readonly [E, ...E[]]

/** Events with the same key, in the order of the first of each. */
export function grouped<E>(events: Iterable<E>, keyOf: (event: E) => unknown): Group<E>[] {
  return [...Map.groupBy(events, keyOf).values()] as unknown as Group<E>[]
}

/** Events of the same profile; those that name none by provider. */
export function byLogin<E extends GatewatchEvent>(events: Iterable<E>): Group<E>[] {
  return grouped(events, ({ profile, provider }) => profile ?? provider ?? '')
}

/** Events of the same profile; those that name none are left out. */
export function byProfile<E extends GatewatchEvent>(events: readonly E[]): Group<E>[] {
  return grouped(
    events.filter(({ profile }) => profile !== undefined),
    ({ profile }) => profile,
  )
}

export function lastOf<E>(group: Group<E>): E {
  return group.at(-1) ?? group[0]
}

/** 0 for none. `Math.max(...values)` throws a RangeError for some hundred thousand values. */
export function greatest(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), values[0] ?? 0)
}

/** 0 for none. */
export function least(values: readonly number[]): number {
  return values.reduce((most, value) => Math.min(most, value), values[0] ?? 0)
}

function byStart(a: GatewatchEvent, b: GatewatchEvent): number {
  return a.startMs - b.startMs
}

/** Index of the first event that began at that moment or later; with `after`: later. */
function firstFrom(events: readonly GatewatchEvent[], atMs: number, after = false): number {
  let low = 0
  let high = events.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const startMs = events[middle]?.startMs ?? 0
    if (startMs < atMs || (after && startMs === atMs)) low = middle + 1
    else high = middle
  }
  return low
}

function processKey(process: EventProcess | undefined): string {
  return process ? `${process.host} ${process.pid}` : ''
}

function append<E>(map: Map<string, E[]>, key: string, event: E): void {
  const known = map.get(key)
  if (known) known.push(event)
  else map.set(key, [event])
}

function extentOf(
  all: readonly GatewatchEvent[],
  { refreshes, acquisitions, calls, attempts, probes }: Evidence,
): Omit<Extent, 'unreadable' | 'leftOut'> {
  const profiles = new Set<string>()
  const processes = new Set<EventProcess | undefined>()
  for (const { profile, process } of all) {
    if (profile !== undefined) profiles.add(profile)
    processes.add(process)
  }
  return {
    events: all.length,
    firstMs: all[0]?.startMs,
    lastMs: all.length === 0 ? undefined : lastEndMs(all),
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
