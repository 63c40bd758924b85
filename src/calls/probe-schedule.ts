interface ProbeScheduleOptions {
  /** Time between two rounds, in ms, give or take a tenth; without it there is none. */
  everyMs?: number | undefined
  /** Probes every profile, one after the other. */
  probeAll: () => Promise<unknown>
  /** Called when a round could not be made. */
  onFailed: (error: unknown) => void
  /** From 0 to 1. */
  random?: () => number
}

/** How far a round may stray, so that gateways that were started together do not ask together for ever. */
const JITTER = 0.1

/** Probes again and again. Does not keep the process alive. */
export class ProbeSchedule {
  readonly #options: ProbeScheduleOptions
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(options: ProbeScheduleOptions) {
    this.#options = options
  }

  /** Begins, the first round soon: an operator who has just started the gateway wants to know. */
  start(): void {
    const { everyMs, random = Math.random } = this.#options
    if (everyMs !== undefined) this.#wait(everyMs, everyMs * JITTER * random())
  }

  /** Begins no further round. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #wait(everyMs: number, waitMs: number): void {
    this.#timer = setTimeout(() => void this.#round(everyMs), waitMs)
    this.#timer.unref()
  }

  async #round(everyMs: number): Promise<void> {
    const { probeAll, onFailed, random = Math.random } = this.#options
    try {
      await probeAll()
    } catch (error) {
      onFailed(error)
    }
    if (!this.#isStopped) this.#wait(everyMs, everyMs * (1 - JITTER + 2 * JITTER * random()))
  }
}
