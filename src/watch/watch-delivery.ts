import { callersSettled, settleCallersNow } from '../callers/caller.ts'
import type { GatewatchEvent } from '../domain/events.ts'
import { EventStore } from '../events/event-store.ts'
import { HostExport } from '../telemetry/host-export.ts'
import type { HostSpan } from '../telemetry/host-span.ts'
import { EventRedactor } from '../telemetry/redaction-event.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import type { Observation } from './observation.ts'
import type { WatchExport } from './watch-export.ts'
import type { WatchSettings } from './watch-settings.ts'

/** Longest time a call to a provider waits in memory, in ms; token requests are handed to the thread that writes at once. */
const BATCH_MS = 200
const MOST_UNSENT = 2_000
/** Observations that wait for source maps or the application's files, and how long: what a SIGKILL can cost. */
const MOST_UNSETTLED = 500
const LONGEST_UNSETTLED_MS = 1_000

interface WatchDeliveryListeners {
  /** Called when nothing can be recorded. */
  onFailure: (error: unknown) => void
  /** Takes a line where nothing can be recorded before the process exits. */
  onNotice: (line: string) => void
  /** Called with a fault of the delivery itself. */
  onFault: (fault: unknown) => void
}

/**
 * Takes observations to the event store of the state folder, and to the OpenTelemetry of the process; where it has none, to where
 * `OTEL_*` says, if it says so.
 */
export class WatchDelivery {
  readonly #store: EventStore
  readonly #redactor = new EventRedactor()
  readonly #unsent: [GatewatchEvent, HostSpan | undefined][] = []
  readonly #unsettled = new Set<Observation>()
  readonly #onFault: (fault: unknown) => void
  readonly #host = new HostExport()
  #export: WatchExport | undefined
  #isExported = exportsSomewhere(process.env)
  #isSent = false

  constructor(settings: WatchSettings, { onFault, ...listeners }: WatchDeliveryListeners) {
    const { state, role, policy, deepStacksUntilMs: _until, ...lasting } = settings
    this.#onFault = onFault
    const exports = () => this.wantsAll
    this.#store = new EventStore({
      folder: state,
      processRole: role,
      batchMs: BATCH_MS,
      thread: 'required',
      exports,
      startedWith: { policy, settings: lasting },
      ...listeners,
    })
    if (this.#isExported) void this.#loadExport(role)
  }

  /** Exporters get every call, and the counts of all of them. */
  get wantsAll(): boolean {
    return this.#isExported || this.#host.isWanted
  }

  take(observation: Observation): void {
    const known = [callersSettled(), observation.pending].filter(one => one !== undefined)
    if (known.length === 0 || this.#unsettled.size >= MOST_UNSETTLED) {
      runGuarded(() => this.#deliver(observation), this.#onFault)
      return
    }
    this.#unsettled.add(observation)
    void this.#deliverSettled(observation, known)
  }

  /** An observation waits until it is known where its caller is in the sources, and what files say of its token. */
  async #deliverSettled(observation: Observation, known: readonly Promise<void>[]): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const timeUp = new Promise<void>(resolve => {
      timer = setTimeout(resolve, LONGEST_UNSETTLED_MS).unref()
    })
    await Promise.race([Promise.all(known), timeUp])
    clearTimeout(timer)
    runGuarded(() => this.#deliverLate(observation), this.#onFault)
  }

  #deliverLate(observation: Observation): void {
    if (!this.#unsettled.delete(observation)) return
    this.#deliver(observation.rebuilt?.() ?? observation)
  }

  #deliverUnsettled(): void {
    for (const observation of [...this.#unsettled]) this.#deliverLate(observation)
  }

  /** Redacts the event, once, for the store and for whatever exports it. */
  #deliver({ event: seen, parent }: Observation): void {
    const { event } = this.#redactor.event(seen)
    const isHosted = this.#host.isWanted
    const made = isHosted
      ? runGuarded(
          () => this.#host.take(event, parent),
          () => undefined,
        )
      : undefined
    // A recorded event whose span is the host's has the identity of that span.
    if (event.standsFor > 0) this.#store.take(made ? { ...event, traceId: made.traceId, spanId: made.spanId } : event)
    // A signal may end the process any moment: only calls may wait to be written.
    if (event.kind !== 'attempt') this.#store.hurry()
    if (isHosted) return
    if (this.#export) this.#export.take(event, parent)
    else if (this.#isExported && this.#unsent.length < MOST_UNSENT) this.#unsent.push([event, parent])
  }

  /** Writes what waits, at once. */
  writeNow(): void {
    if (this.#unsettled.size > 0) settleCallersNow()
    this.#deliverUnsettled()
    this.#store.writeNow()
  }

  /** Takes no more; what waits is written. Resolves when it is. Never rejects. */
  async close(): Promise<void> {
    this.#deliverUnsettled()
    await this.#store.shutdown()
  }

  /** Sends what waits, once. */
  send(): void {
    if (this.#isSent) return
    this.#isSent = true
    if (this.#unsettled.size > 0) settleCallersNow()
    this.#deliverUnsettled()
    void this.#export?.flush()
  }

  async #loadExport(role: WatchSettings['role']): Promise<void> {
    try {
      const { startExport } = await import('./watch-export.ts')
      this.#export = await startExport(process.env, role)
      for (const [event, parent] of this.#unsent.splice(0)) this.#export.take(event, parent)
    } catch {
      this.#isExported = false
    }
  }
}

/** Says whether the environment names an exporter; loading OpenTelemetry costs, so it is asked before. */
function exportsSomewhere(environment: Readonly<Record<string, string | undefined>>): boolean {
  if (environment.OTEL_SDK_DISABLED?.toLowerCase() === 'true') return false
  return Object.entries(environment).some(
    ([name, value]) => /^OTEL_(?:EXPORTER_OTLP_(?:\w+_)?ENDPOINT|\w+_EXPORTER)$/.test(name) && value?.trim(),
  )
}
