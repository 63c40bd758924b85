import { randomBytes } from 'node:crypto'
import type {
  AcquireEvent,
  AttemptEvent,
  CallEvent,
  EventCaller,
  EventKind,
  GatewatchEvent,
  TokenRequestEvent,
} from '../../src/domain/events.ts'
import { EventStore, type EventStoreOptions } from '../../src/events/event-store.ts'
import { type ChildProcess, startChild as startFixture } from '../support/child-process.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'

/** What an event of a test differs in from the usual one. */
export type Differences<Event extends GatewatchEvent> = Partial<Omit<Event, 'caller'>> & { readonly caller?: string | EventCaller }

export function refreshEvent(differences: Differences<TokenRequestEvent> = {}): TokenRequestEvent {
  const usual = { grant: 'refresh', reason: 'expired', via: 'gate', outcome: 'rotated' } as const
  return {
    ...base('token_request', differences),
    ...usual,
    provider: 'openai-codex',
    profile: 'openai-codex:default',
    ...rest(differences),
  }
}

export function acquireEvent(differences: Differences<AcquireEvent> = {}): AcquireEvent {
  return { ...base('acquire', differences), reason: 'expired', decision: 'lead', ...rest(differences) }
}

export function attemptEvent(differences: Differences<AttemptEvent> = {}): AttemptEvent {
  return { ...base('attempt', differences), outcome: 'ok', model: 'gpt-5.5', ...rest(differences) }
}

export function callEvent(differences: Differences<CallEvent> = {}): CallEvent {
  return { ...base('call', differences), ...rest(differences) }
}

function base<Kind extends EventKind>(kind: Kind, { caller = 'src/a.ts#f' }: { readonly caller?: string | EventCaller }) {
  return {
    kind,
    startMs: Date.now(),
    durationMs: 5,
    traceId: randomBytes(16).toString('hex'),
    spanId: randomBytes(8).toString('hex'),
    links: [],
    steps: [],
    isError: false,
    standsFor: 1,
    caller: typeof caller === 'string' ? ({ label: caller, kind: 'code' } as const) : caller,
  }
}

function rest<Event extends GatewatchEvent>({ caller: _caller, ...differences }: Differences<Event>) {
  return differences
}

/** A store of this process in a folder of its own, unless one is given; closed when the test is over. */
export function storeWorld(options: Partial<EventStoreOptions> = {}) {
  const folder = options.folder ?? stateFolder()
  return { folder, ...storeOf({ ...options, folder }) }
}

/** A store of this process in memory. */
export function memoryWorld(options: Partial<EventStoreOptions> = {}) {
  return storeOf(options)
}

function storeOf(options: Partial<EventStoreOptions>) {
  const failures: unknown[] = []
  const store = new EventStore({ processRole: 'gateway', onFailure: error => failures.push(error), ...options })
  afterwards(() => store.shutdown())
  const refresh = (differences?: Differences<TokenRequestEvent>) => store.take(refreshEvent(differences))
  return { store, failures, refresh }
}

/** Starts a script of `fixtures/`; it is gone when the test is over. */
export function startWriter(script: string, ...parameters: string[]): ChildProcess {
  return startFixture(new URL(`./fixtures/${script}`, import.meta.url), ...parameters)
}
