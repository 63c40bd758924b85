import { setTimeout as sleep } from 'node:timers/promises'
import type { Gatewatch } from '../../gatewatch/gatewatch.ts'

/**
 * What the parts of the demo's application share: an agent gateway with several callers that all need a token, one of which does
 * not use the gate.
 */
export interface Application {
  readonly watch: Gatewatch
  /** Where the gateway listens, for the parts that call it over HTTP. */
  readonly gatewayUrl: string
  readonly tokenUrl: string
  /** The subscription's profile. */
  readonly profileId: string
  /** The refresh token as the plugin's author copied it, some time ago. */
  readonly copiedRefreshToken: () => string
  /** Aborts when the demo ends. */
  readonly signal: AbortSignal
}

/** Repeats `work` until the demo ends. A failure is expected; the spans show it. */
export async function every(ms: number, signal: AbortSignal, work: () => Promise<unknown>): Promise<void> {
  while (!signal.aborted) {
    try {
      await work()
    } catch {
      // Seen in spans, metrics and the live table.
    }
    await sleep(ms, undefined, { signal }).catch(() => undefined)
  }
}
