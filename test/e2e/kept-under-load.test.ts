import { describe, expect, it } from 'vitest'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_DECISION,
  ATTR_REASON,
  ATTR_VIA,
  EVENT_FALLBACK,
  SPAN_CALL,
  SPAN_REFRESH,
  SPAN_VISIT,
} from '../../otel/names.ts'
import { refreshes, visitTable } from '../../src/recorder/queries.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-dialect.ts'
import { answeredBy, CODEX_PATH, KEY, loginThenKey } from '../calls/login-then-key.ts'
import { atTheEnd, codexLogin, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../support/otlp-receiver.ts'

const LOAD = 600
const AT_ONCE = 20

async function receive(): Promise<OtlpReceiver> {
  const receiver = await startOtlpReceiver()
  atTheEnd(() => receiver.stop())
  return receiver
}

/** Many calls, some at a time. */
async function load(turn: (index: number) => Promise<unknown>): Promise<void> {
  for (let index = 0; index < LOAD; index += AT_ONCE)
    await Promise.all(Array.from({ length: AT_ONCE }, (_, offset) => turn(index + offset)))
}

/** The trace and all that hangs under it: nobody's parent is missing. */
function isWhole(trace: readonly ReceivedSpan[]): boolean {
  const ids = new Set(trace.map(({ spanId }) => spanId))
  return trace.filter(({ parentSpanId }) => !ids.has(parentSpanId)).length === 1
}
