import { DiskRecorder } from '../src/recorder/disk-recorder.ts'
import { RedactingSpanProcessor } from '../src/telemetry/redaction.ts'
import type { Observation } from '../src/watch/observation.ts'
import type { WatchSettings } from '../src/watch/watch-settings.ts'
import { ObservedSpan } from './observed-span.ts'
import type { WatchExport } from './watch-export.ts'

/** Longest time a call to a provider waits in memory, in ms; token requests are written at once. */
const BATCH_MS = 200
const MOST_UNSENT = 2_000

/** Takes observations to the recorder of the state folder, and to where `OTEL_*` says, if it says so. */
export class WatchDelivery {
  readonly #recorder: DiskRecorder
  readonly #redaction: RedactingSpanProcessor
  readonly #unsent: [ObservedSpan, Observation][] = []
  #export: WatchExport | undefined
  #isExported = exportsSomewhere(process.env)
  #isSent = false

  /** @param onFailure Told when nothing can be recorded. */
  constructor({ state, role }: WatchSettings, onFailure: (error: unknown) => void) {
    this.#recorder = new DiskRecorder({ folder: state, processRole: role, batchMs: BATCH_MS, onFailure })
    this.#redaction = new RedactingSpanProcessor([{ processor: this.#recorder, place: 'recorder' }], { onDropped: () => undefined })
    if (this.#isExported) void this.#loadExport(role)
  }

  take(observation: Observation): void {
    const span = new ObservedSpan(observation)
    this.#redaction.onEnd(span)
    if (observation.isUrgent) void this.#recorder.flush()
    if (this.#export) this.#export.take(span, observation)
    else if (this.#isExported && this.#unsent.length < MOST_UNSENT) this.#unsent.push([span, observation])
  }

  /** Writes what waits, at once. */
  writeNow(): void {
    this.#recorder.writeNow()
  }

  /** Sends what waits, once. */
  send(): void {
    if (this.#isSent) return
    this.#isSent = true
    void this.#export?.flush()
  }

  async #loadExport(role: WatchSettings['role']): Promise<void> {
    try {
      const { startExport } = await import('./watch-export.ts')
      this.#export = await startExport(process.env, role)
      for (const [span, observation] of this.#unsent.splice(0)) this.#export.take(span, observation)
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
