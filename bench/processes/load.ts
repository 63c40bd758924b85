/** Sends the load, in a process of its own: what it takes must not be counted with what it measures. */
import { Client, type Dispatcher } from 'undici'
import type { Answer, LoadJob, LoadResult, Question } from '../messages.ts'
import { percentile } from '../statistics.ts'
import { reportReady } from './listen.ts'

/** A request that takes longer has failed. */
const REQUEST_MS = 10_000

/** What the connections of one job measured, together. */
class RequestCounts {
  readonly latenciesMs: number[] = []
  readonly firstChunksMs: number[] = []
  failed = 0
  begun = 0
}

/** One request, from sending to the end of its answer. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #counts: RequestCounts
  readonly #done: () => void
  readonly #sentAt = performance.now()
  #status = 0
  #firstChunkAt = 0

  constructor(requestCounts: RequestCounts, done: () => void) {
    this.#counts = requestCounts
    this.#done = done
  }

  onRequestStart(): void {
    // undici requires the method.
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#status = status
  }

  onResponseData(): void {
    if (this.#firstChunkAt === 0) this.#firstChunkAt = performance.now()
  }

  onResponseEnd(): void {
    if (this.#status === 200 && this.#firstChunkAt > 0) {
      this.#counts.latenciesMs.push(performance.now() - this.#sentAt)
      this.#counts.firstChunksMs.push(this.#firstChunkAt - this.#sentAt)
    } else this.#counts.failed += 1
    this.#done()
  }

  onResponseError(): void {
    this.#counts.failed += 1
    this.#done()
  }
}

process.on('message', (question: Question) => {
  if (question.type !== 'load') return
  void run(question.job).then(result => {
    const answer: Answer = { type: 'load', result }
    process.send?.(answer)
  })
})
reportReady('')

async function run(job: LoadJob): Promise<LoadResult> {
  const clients = Array.from(
    { length: job.connections },
    () => new Client(job.origin, { pipelining: 1, headersTimeout: REQUEST_MS, bodyTimeout: REQUEST_MS }),
  )
  try {
    // Connecting is not what is measured: every connection has answered once before the clock runs.
    await Promise.all(clients.map(client => exchange(client, job, new RequestCounts())))
    const requestCounts = new RequestCounts()
    const startedAt = performance.now()
    await Promise.all(clients.map(client => keepAsking(client, job, requestCounts, startedAt + job.durationMs)))
    return summary(requestCounts, (performance.now() - startedAt) / 1000, clients.length)
  } finally {
    await Promise.all(clients.map(client => client.destroy()))
  }
}

async function keepAsking(client: Client, job: LoadJob, requestCounts: RequestCounts, lastMoment: number): Promise<void> {
  while (performance.now() < lastMoment && requestCounts.begun < job.mostRequests) {
    requestCounts.begun += 1
    await exchange(client, job, requestCounts)
  }
}

function exchange(client: Client, { path, headers, body }: LoadJob, requestCounts: RequestCounts): Promise<void> {
  return new Promise(resolve => {
    client.dispatch({ method: 'POST', path, headers, body }, new Exchange(requestCounts, resolve))
  })
}

function summary({ latenciesMs, firstChunksMs, failed }: RequestCounts, seconds: number, unmeasured: number): LoadResult {
  const counts = { answered: latenciesMs.length, failed, seconds, unmeasured }
  if (latenciesMs.length === 0) return counts
  return { ...counts, latencyMs: percentiles(latenciesMs), firstChunkMs: percentiles(firstChunksMs) }
}

function percentiles(values: readonly number[]): { p50: number; p99: number } {
  const sorted = Float64Array.from(values).sort()
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) }
}
