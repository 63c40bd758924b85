/**
 * What of a second recording events takes on the thread that makes calls, while 1,000 calls a second are made: ordinary ones, and ones that all fall back.
 * Parameters: rounds.
 */
import { ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api'
import { startSdk } from '../../otel/sdk/sdk.ts'
import {
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CODE_STACK,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  EVENT_FALLBACK,
  SPAN_CALL,
} from '../../otel/semconv.ts'
import { eventCaller, takeCallerSite } from '../../src/callers/caller.ts'
import { EventStore } from '../../src/events/event-store.ts'
import { SpanEvents } from '../../src/events/span-events.ts'
import type { FinishedSpan } from '../../src/telemetry/finished-span.ts'
import { Telemetry } from '../../src/telemetry/telemetry.ts'
import { reportAlone } from '../isolate.ts'
import { pace } from '../pace.ts'
import { spread } from '../statistics.ts'

const rounds = Number(process.argv[2] ?? 11)
const CALLS_EACH_SECOND = 1_000
const ROUND_MS = 2_000
/** Spans under the request's, as a call with one attempt has them. */
const caller = takeCallerSite(setTimeout)

/** Measures the time that recording takes. */
class TimedRecorder extends SpanEvents {
  spentMs = 0

  override onEnd(span: FinishedSpan): void {
    const startedAt = performance.now()
    super.onEnd(span)
    this.spentMs += performance.now() - startedAt
  }

  override onForgotten(name: string, attributes: Parameters<SpanEvents['onForgotten']>[1]): void {
    const startedAt = performance.now()
    super.onForgotten(name, attributes)
    this.spentMs += performance.now() - startedAt
  }
}

const recorder = new TimedRecorder(new EventStore())
const sdk = await startSdk({ recorders: () => [recorder], standalone: false, environment: {} })
const telemetry = new Telemetry(sdk.source)

function call(fallsBack: boolean): void {
  const { label, kind, stack } = eventCaller(caller)
  const describe = () => ({ [ATTR_CALLER]: label, [ATTR_CALLER_KIND]: kind, [ATTR_CODE_STACK]: stack ?? '' })
  const request = telemetry.startSpan('POST', { kind: SpanKind.SERVER, parent: ROOT_CONTEXT, describe })
  const span = telemetry.startSpan(SPAN_CALL, { parent: trace.setSpan(ROOT_CONTEXT, request), describe })
  if (fallsBack) span.addEvent(EVENT_FALLBACK, { [ATTR_FALLBACK_FROM]: 'a', [ATTR_FALLBACK_TO]: 'b', [ATTR_FALLBACK_REASON]: 'rate_limit' })
  telemetry.startSpan('chat bench', { kind: SpanKind.CLIENT, parent: trace.setSpan(ROOT_CONTEXT, span), describe }).end()
  span.end()
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
