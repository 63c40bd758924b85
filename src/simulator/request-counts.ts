import type { RefreshStanding } from './grants.ts'

/** One request to a token endpoint, without anything secret. */
export interface TokenRequestSeen {
  /** Epoch ms. */
  readonly at: number
  readonly path: string
  readonly encoding: 'form' | 'json' | 'other'
  /** Names of the fields, sorted. */
  readonly fields: readonly string[]
  readonly grantType: string
  /** What the refresh token was when the request came in. */
  readonly refreshToken: RefreshStanding
  /** Generation of the refresh token that was sent; for tokens the simulator knows. */
  readonly generation?: number
  readonly account?: string
  readonly userAgent: string
  /** New tokens were issued, whether or not the answer arrived. */
  readonly committed: boolean
  /** Absent while there is no answer, and for ever when the connection was dropped. */
  readonly status?: number
  /** `rotated`, `renewed`, `exchanged`, the error's code, the fault's name, `reset`, `hang`; absent while under way. */
  readonly outcome?: string
}

/** A request that is under way can still be written to. */
export type OpenTokenRequest = { -readonly [Key in keyof TokenRequestSeen]: TokenRequestSeen[Key] }

export interface SimulatorCounts {
  readonly tokenRequests: {
    readonly total: number
    /** Requests that made new tokens, answered or not. */
    readonly committed: number
    /** Finished requests by outcome. */
    readonly byOutcome: Readonly<Record<string, number>>
  }
  readonly providerCalls: {
    /** Calls that were answered or dropped. */
    readonly total: number
    /** By path, then by status; `none` stands for no answer. */
    readonly byPath: Readonly<Record<string, Readonly<Record<string, number>>>>
  }
}

/** How many token requests are remembered; older ones are still counted. */
const TOKEN_REQUESTS_KEPT = 1000

/** Counts what came in and how it ended. */
export class RequestCounts {
  #log: OpenTokenRequest[] = []
  #total = 0
  #committed = 0
  #byOutcome = new Map<string, number>()
  #byPath = new Map<string, Map<string, number>>()

  open(seen: OpenTokenRequest): OpenTokenRequest {
    this.#total += 1
    this.#log.push(seen)
    if (this.#log.length > TOKEN_REQUESTS_KEPT) this.#log.shift()
    return seen
  }

  commit(seen: OpenTokenRequest): void {
    seen.committed = true
    this.#committed += 1
  }

  close(seen: OpenTokenRequest, outcome: string, status: number | undefined): void {
    seen.outcome = outcome
    if (status !== undefined) seen.status = status
    add(this.#byOutcome, outcome)
  }

  providerCall(path: string, status: number | undefined): void {
    const byStatus = this.#byPath.get(path) ?? new Map<string, number>()
    this.#byPath.set(path, byStatus)
    add(byStatus, status === undefined ? 'none' : String(status))
  }

  tokenRequests(): TokenRequestSeen[] {
    return this.#log.map(seen => ({ ...seen }))
  }

  counts(): SimulatorCounts {
    const byPath = Object.fromEntries([...this.#byPath].map(([path, byStatus]) => [path, Object.fromEntries(byStatus)]))
    const total = [...this.#byPath.values()].flatMap(byStatus => [...byStatus.values()]).reduce((sum, count) => sum + count, 0)
    return {
      tokenRequests: { total: this.#total, committed: this.#committed, byOutcome: Object.fromEntries(this.#byOutcome) },
      providerCalls: { total, byPath },
    }
  }

  clear(): void {
    this.#log = []
    this.#total = 0
    this.#committed = 0
    this.#byOutcome = new Map()
    this.#byPath = new Map()
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
