/**
 * What of a second recording events takes on the thread that makes calls, while 1,000 calls a second are made: ordinary ones, and ones that all fall back.
 * Parameters: rounds.
 */
import { ROOT_CONTEXT } from '@opentelemetry/api'
import { startSdk } from '../../otel/sdk/sdk.ts'
import { takeCallerSite } from '../../src/callers/caller.ts'
import type { AcquireEvent, GatewatchEvent } from '../../src/domain/events.ts'
import { EventStore } from '../../src/events/event-store.ts'
import { OpenEvent } from '../../src/telemetry/open-event.ts'
import { contextWith, Telemetry } from '../../src/telemetry/telemetry.ts'
import { reportAlone } from '../isolate.ts'
import { pace } from '../pace.ts'
import { spread } from '../statistics.ts'

const rounds = Number(process.argv[2] ?? 11)
const CALLS_EACH_SECOND = 1_000
const ROUND_MS = 2_000
/** Spans under the request's, as a call with one attempt has them. */
const caller = takeCallerSite(setTimeout)

/** Measures the time that recording takes. */
class TimedStore extends EventStore {
  spentMs = 0

  override take(event: GatewatchEvent): void {
    const startedAt = performance.now()
    super.take(event)
    this.spentMs += performance.now() - startedAt
  }

  override count(event: AcquireEvent): void {
    const startedAt = performance.now()
    super.count(event)
    this.spentMs += performance.now() - startedAt
  }
}

const recorder = new TimedStore()
const sdk = await startSdk({ eventSink: () => recorder, standalone: false, environment: {} })
const telemetry = new Telemetry(sdk.source)

function call(fallsBack: boolean): void {
  const request = new OpenEvent(telemetry, 'inbound', { httpMethod: 'POST' }, { parent: ROOT_CONTEXT })
  const parent = contextWith(ROOT_CONTEXT, request.span)
  const event = new OpenEvent(telemetry, 'call', { model: 'bench' }, { caller, parent })
  if (fallsBack) event.step('fallback', { fallbackFrom: 'a', fallbackTo: 'b', fallbackReason: 'rate_limit' })
  const within = contextWith(parent, event.span)
  new OpenEvent(telemetry, 'attempt', { genaiOperation: 'chat', model: 'bench' }, { caller, parent: within }).end({ outcome: 'ok' })
  event.end()
  request.end()
}

/** The share of a second that recording took, in percent. */
async function shareOf(fallsBack: boolean): Promise<number> {
  recorder.spentMs = 0
  const tookMs = await pace(() => call(fallsBack), { eachSecond: CALLS_EACH_SECOND, forMs: ROUND_MS })
  return (recorder.spentMs / tookMs) * 100
}

await shareOf(true)
const shares: Record<'ordinary' | 'fallback', number[]> = { ordinary: [], fallback: [] }
for (let round = 0; round < rounds; round += 1) {
  shares.ordinary.push(await shareOf(false))
  shares.fallback.push(await shareOf(true))
}
await sdk.shutdown()

const row = (what: string, values: readonly number[]) => {
  const { median, lower, upper } = spread(values)
  return [what, `${median.toFixed(2)} % [${lower.toFixed(2)} to ${upper.toFixed(2)}]`]
}
reportAlone({
  title: `Time of recording events at ${CALLS_EACH_SECOND} calls a second, of one core; medians [quartiles] of ${rounds} rounds`,
  rows: [row('ordinary calls', shares.ordinary), row('calls that all fall back', shares.fallback)],
})
