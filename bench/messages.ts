/** What the process that runs the benchmark asks its children. */
export type Question = { readonly type: 'usage' } | { readonly type: 'load'; readonly job: LoadJob }

/** What the children say; `ready` unasked, the rest in answer. */
export type Answer =
  | { readonly type: 'ready'; readonly url: string }
  | ({ readonly type: 'usage' } & Usage)
  | { readonly type: 'load'; readonly result: LoadResult }

/** What a process has taken so far, as it says itself. */
export interface Usage {
  /** User and system time of all its threads since it began, in microseconds. */
  readonly cpuUs: number
  /** Resident memory now, in bytes. */
  readonly rssBytes: number
}

/** One piece of load: so many connections, each with one request at a time, for so long. */
export interface LoadJob {
  /** Scheme, host and port. */
  readonly origin: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly connections: number
  /** After this time no request is begun; those under way are waited for. */
  readonly durationMs: number
  /** No more requests than these, however much time is left. */
  readonly mostRequests: number
}

export interface LoadResult {
  /** Requests answered with status 200 to the end. */
  readonly answered: number
  /** Requests that were refused, broken off or not answered in time. */
  readonly failed: number
  /** From the first request to the last answer. */
  readonly seconds: number
  /** Requests sent before the clock began to run, one on each connection; in the usage, in nothing else. */
  readonly unmeasured: number
  /** From sending a request to the end of its answer; absent when nothing was answered. */
  readonly latencyMs?: { readonly p50: number; readonly p99: number }
  /** From sending a request to the first bytes of its answer's body. */
  readonly firstChunkMs?: { readonly p50: number; readonly p99: number }
}
