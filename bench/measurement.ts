import type { Child } from './child.ts'
import type { LoadResult } from './messages.ts'
import { requestBody } from './provider-answer.ts'
import type { ContestantId } from './variants.ts'

/** One kind of load that every contestant gets. */
export interface Case {
  readonly body: 'JSON' | 'SSE'
  readonly connections: number
}

export const CASES: readonly Case[] = [
  { body: 'JSON', connections: 1 },
  { body: 'JSON', connections: 32 },
  { body: 'SSE', connections: 1 },
  { body: 'SSE', connections: 32 },
]

/** What one contestant showed in one case of one round. */
export interface Measurement {
  readonly contestant: ContestantId
  readonly case: Case
  readonly round: number
  readonly failed: number
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly firstChunkP50Ms: number
  readonly cpuUsPerRequest: number
  readonly rssBytes: number
}

/** A contestant that runs and answers as it should. */
export interface Runner {
  readonly id: ContestantId
  readonly child: Child
  readonly headers: Readonly<Record<string, string>>
}

export const PATH = '/v1/chat/completions'
const CLIENT_HEADERS = { 'content-type': 'application/json', authorization: 'Bearer key-of-the-client', 'user-agent': 'bench/1' }

/** What a request leaves behind to be done (a batch to be sent, memory to be collected) belongs to its cost. */
const SETTLE_MS = 60
const MOST_REQUESTS = 200_000

/** Puts one contestant under load and takes its usage before and after. @throws {Error} when it answered nothing. */
export async function measure(load: Child, runner: Runner, round: number, of: Case, durationMs: number): Promise<Measurement> {
  const before = await runner.child.usage()
  const result = await putUnderLoad(load, runner, of, durationMs)
  await new Promise(resolve => setTimeout(resolve, SETTLE_MS))
  const after = await runner.child.usage()
  const { answered, failed, seconds, unmeasured, latencyMs, firstChunkMs } = result
  if (!latencyMs || !firstChunkMs)
    throw new Error(`contestant ${runner.id} answered none of ${failed} requests (${of.body}, ${of.connections} connections)`)
  return {
    contestant: runner.id,
    case: of,
    round,
    failed,
    requestsPerSecond: answered / seconds,
    p50Ms: latencyMs.p50,
    p99Ms: latencyMs.p99,
    firstChunkP50Ms: firstChunkMs.p50,
    cpuUsPerRequest: (after.cpuUs - before.cpuUs) / (answered + failed + unmeasured),
    rssBytes: after.rssBytes,
  }
}

/** Load without measuring, until the code is compiled and the connections stand. */
export async function warmUp(load: Child, runner: Runner, durationMs: number): Promise<void> {
  for (const body of ['JSON', 'SSE'] as const) await putUnderLoad(load, runner, { body, connections: 32 }, durationMs)
}

export function requestHeaders({ headers }: Pick<Runner, 'headers'>, { body }: Pick<Case, 'body'>): Record<string, string> {
  return { ...CLIENT_HEADERS, accept: body === 'SSE' ? 'text/event-stream' : 'application/json', ...headers }
}

function putUnderLoad(load: Child, runner: Runner, of: Case, durationMs: number): Promise<LoadResult> {
  return load.load({
    origin: runner.child.url,
    path: PATH,
    headers: requestHeaders(runner, of),
    body: requestBody(of.body === 'SSE'),
    connections: of.connections,
    durationMs,
    mostRequests: MOST_REQUESTS,
  })
}
