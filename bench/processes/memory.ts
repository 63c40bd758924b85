/**
 * Whether memory stays flat over a million calls: 10,000 distinct stacks, 1,000 profiles, an exporter that is down, every
 * twentieth call failing, every eighth preceded by a forced acquisition, a refresh recorded with every fourth. The first 100,000 are
 * sampled all, so that every class of events and every cache is full when the clock begins to run. Parameters: rounds (ignored).
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { context, ROOT_CONTEXT, TraceFlags, trace } from '@opentelemetry/api'
import { startSdk } from '../../otel/sdk/sdk.ts'
import { siteOf } from '../../src/callers/caller.ts'
import { ProbeState } from '../../src/calls/probe-state.ts'
import { ProfileCache } from '../../src/calls/profile-cache.ts'
import { ProviderCalls } from '../../src/calls/provider-calls.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { EventStore } from '../../src/events/event-store.ts'
import { createRegistry } from '../../src/providers/registry.ts'
import type { AnswerSink, Upstream, UpstreamRequest } from '../../src/providers/upstream.ts'
import { RefreshGate } from '../../src/refresh/refresh-gate.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { OpenEvent } from '../../src/telemetry/open-event.ts'
import { Telemetry } from '../../src/telemetry/telemetry.ts'
import { reportAlone } from '../isolate.ts'
import { JSON_ANSWER, requestBody } from '../provider-answer.ts'

const CALLS = 1_000_000
const STEP = 100_000
const STACKS = 10_000
const PROFILES = 1_000
const MODELS = 300

const flow = { isOver: false, isSent: true, pause() {}, resume() {}, abort() {} }
let sent = 0

/** Answers at once; every twentieth time it fails. */
const upstream = {
  send(_request: UpstreamRequest, sink: AnswerSink) {
    sent += 1
    if (sent % 20 === 0) {
      sink.onHead(500, { 'content-type': 'application/json' }, flow)
      sink.onEnd({ bytes: Buffer.from('{}'), cut: false })
    } else {
      sink.onHead(200, { 'content-type': 'application/json', 'x-request-id': `req_${sent.toString(16).padStart(12, '0')}` }, flow)
      sink.onChunk(JSON_ANSWER)
      sink.onEnd(undefined)
    }
    return flow
  },
} as unknown as Upstream

const now = Date.now()
const profileOf = (index: number): StoredProfile => ({
  id: `bench:p${index}`,
  provider: 'bench',
  credential: {
    type: 'oauth',
    access: `access-token-number-${index}`,
    refresh: `refresh-token-number-${index}`,
    expiresAt: now + 86_400_000,
    generation: 1,
  },
})
const store = memoryStore(Array.from({ length: PROFILES }, (_, index) => profileOf(index)))
const sdk = await startSdk({
  eventSink: () => new EventStore(),
  standalone: false,
  environment: {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_METRIC_EXPORT_INTERVAL: '5000',
    OTEL_EXPORTER_OTLP_TIMEOUT: '1000',
  },
})
const telemetry = new Telemetry(sdk.source)
const registry = createRegistry({ bench: { baseUrl: 'http://127.0.0.1:1/v1', tokenUrl: 'http://127.0.0.1:1/token', clientId: 'bench' } })
const gate = new RefreshGate({ store, registry, telemetry })
const profiles = new ProfileCache({ gate, store, configured: [] })
const probes = new ProbeState({ isResting: profile => profiles.rests.isResting(profile), everyMs: 0 })
const calls = new ProviderCalls({ telemetry, gate, profiles, probes, registry, upstream, metered: 'allow' })
const sink = { head() {}, chunk: () => true, end() {}, fail() {} }
const body = Buffer.from(requestBody(false))
const sampled = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED, isRemote: true }
const sampledContext = trace.setSpanContext(ROOT_CONTEXT, sampled)

async function turn(index: number): Promise<void> {
  const stack = index % STACKS
  const frames = Array.from({ length: 6 }, (_, depth) => ({
    functionName: `step${depth}`,
    file: `/srv/app/src/module${(stack + depth) % 500}.ts`,
    line: stack,
    column: depth,
    isAsync: depth > 0,
  }))
  const caller = siteOf(frames)
  const profile = `bench:p${index % PROFILES}`
  if (index % 4 === 0) new OpenEvent(telemetry, 'token_request', { grant: 'refresh' }, { caller, parent: ROOT_CONTEXT }).end()
  if (index % 8 === 0) await gate.acquire({ provider: 'bench', profileId: profile, caller, reason: 'forced' })
  const model = `model-${index % MODELS}`
  await calls.call({ caller, protocol: 'chat_completions', model, stream: false, body, headers: {}, profile }, sink)
}

async function run(from: number, to: number): Promise<void> {
  for (let index = from; index < to; index += 1) {
    if (index < STEP) await context.with(sampledContext, () => turn(index))
    else await turn(index)
    if (index % 200 === 0) await nextTurn()
  }
}

interface Reading {
  readonly calls: number
  readonly heap: number
  readonly rss: number
}

const readings: Reading[] = []
for (let done = 0; done < CALLS; done += STEP) {
  await run(done, done + STEP)
  // What waits for the exporter comes and goes; it is no growth.
  await sdk.flush()
  for (let times = 0; times < 3; times += 1) globalThis.gc?.()
  readings.push({ calls: done + STEP, heap: process.memoryUsage().heapUsed, rss: process.memoryUsage.rss() })
}
await sdk.shutdown()

const mib = (bytes: number) => (bytes / 1_048_576).toFixed(1)
const first = readings[0]?.heap ?? Number.NaN
reportAlone({
  title: `Memory over ${CALLS} calls, ${STACKS} stacks, ${PROFILES} profiles, exporter down`,
  rows: [
    ['calls', 'heap in use MiB', 'to the first', 'RSS MiB'],
    ...readings.map(({ calls: made, heap, rss }) => [String(made), mib(heap), `${((heap / first - 1) * 100).toFixed(1)} %`, mib(rss)]),
  ],
})
