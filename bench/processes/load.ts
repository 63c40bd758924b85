/** Sends the load, in a process of its own: what it takes must not be counted with what it measures. */
import { Client, type Dispatcher } from 'undici'
import type { Answer, LoadJob, LoadResult, Question } from '../messages.ts'
import { percentile } from '../statistics.ts'
import { tellReady } from './listen.ts'

/** A request that takes longer has failed. */
const REQUEST_MS = 10_000

/** What the connections of one job measured, together. */
class Tally {
  readonly latenciesMs: number[] = []
  readonly firstChunksMs: number[] = []
  failed = 0
  begun = 0
}

/** One request, from sending to the end of its answer. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #tally: Tally
  readonly #done: () => void
  readonly #sentAt = performance.now()
  #status = 0
  #firstChunkAt = 0

  constructor(tally: Tally, done: () => void) {
    this.#tally = tally
    this.#done = done
  }

  onRequestStart(): void {
    // undici wants to be able to tell.
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#status = status
  }

  onResponseData(): void {
    if (this.#firstChunkAt === 0) this.#firstChunkAt = performance.now()
  }

  onResponseEnd(): void {
    if (this.#status === 200 && this.#firstChunkAt > 0) {
      this.#tally.latenciesMs.push(performance.now() - this.#sentAt)
      this.#tally.firstChunksMs.push(this.#firstChunkAt - this.#sentAt)
    } else this.#tally.failed += 1
    this.#done()
  }

  onResponseError(): void {
    this.#tally.failed += 1
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
tellReady('')

async function run(job: LoadJob): Promise<LoadResult> {
  const clients = Array.from(
    { length: job.connections },
    () => new Client(job.origin, { pipelining: 1, headersTimeout: REQUEST_MS, bodyTimeout: REQUEST_MS }),
  )
  try {
    // Connecting is not what is measured: every connection has answered once before the clock runs.
    await Promise.all(clients.map(client => exchange(client, job, new Tally())))
    const tally = new Tally()
    const startedAt = performance.now()
    await Promise.all(clients.map(client => keepAsking(client, job, tally, startedAt + job.durationMs)))
    return summary(tally, (performance.now() - startedAt) / 1000, clients.length)
  } finally {
    await Promise.all(clients.map(client => client.destroy()))
  }
}

async function keepAsking(client: Client, job: LoadJob, tally: Tally, lastMoment: number): Promise<void> {
  while (performance.now() < lastMoment && tally.begun < job.mostRequests) {
    tally.begun += 1
    await exchange(client, job, tally)
  }
}

function exchange(client: Client, { path, headers, body }: LoadJob, tally: Tally): Promise<void> {
  return new Promise(resolve => {
    client.dispatch({ method: 'POST', path, headers, body }, new Exchange(tally, resolve))
  })
}

function summary({ latenciesMs, firstChunksMs, failed }: Tally, seconds: number, unmeasured: number): LoadResult {
  const counts = { answered: latenciesMs.length, failed, seconds, unmeasured }
  if (latenciesMs.length === 0) return counts
  return { ...counts, latencyMs: percentiles(latenciesMs), firstChunkMs: percentiles(firstChunksMs) }
}

function percentiles(values: readonly number[]): { p50: number; p99: number } {
  const sorted = Float64Array.from(values).sort()
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) }
}
