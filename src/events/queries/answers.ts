/**
 * What the queries of the ops page's views answer; the page reads it as JSON.
 *
 * Plain types only: the page is checked without Node's. Times are epoch milliseconds, durations milliseconds. Counts include
 * the events that a stored event stands for.
 */

/** One row of the caller table. */
export interface CallerRow {
  readonly caller: string
  readonly reason: string
  readonly via: string
  /** Empty where none was known. */
  readonly outcome: string
  readonly count: number
  readonly failures: number
  readonly perHour: number
  readonly lastMs: number
  readonly lastTrace: string
  /** How many fell into each of equal slices of the time that is looked at. */
  readonly trend: readonly number[]
}

export interface AcquisitionRow {
  readonly caller: string
  readonly reason: string
  readonly decision: string
  readonly count: number
  readonly perHour: number
  readonly lastMs: number
  readonly lastTrace: string
}

export interface RefreshesAnswer {
  readonly fromMs: number
  readonly toMs: number
  readonly total: number
  readonly failures: number
  readonly callers: readonly CallerRow[]
  readonly acquisitions: readonly AcquisitionRow[]
}

/** A node of the icicle: a frame, below the frame that called it. */
export interface StackNode {
  readonly name: string
  readonly file: string
  readonly line: number
  readonly application: boolean
  readonly count: number
  readonly failures: number
  readonly children: readonly StackNode[]
}

/** A stack with how often it asked for a refresh. */
export interface CountedStack {
  /** Outermost first. */
  readonly frames: readonly FrameLine[]
  readonly count: number
  readonly failures: number
}

export interface StacksAnswer {
  readonly root: StackNode
  readonly stacks: number
}

/** One refresh, as a list that leads to traces shows it. */
export interface RefreshLine {
  readonly atMs: number
  readonly durationMs: number
  readonly caller: string
  readonly reason: string
  readonly via: string
  readonly outcome: string
  readonly profile: string
  readonly replay: boolean
  readonly failed: boolean
  readonly traceId: string
}

export interface RefreshLinesAnswer {
  readonly lines: readonly RefreshLine[]
  readonly total: number
}

export interface FrameLine {
  readonly name: string
  readonly file: string
  readonly line: number
  readonly application: boolean
  /** The frame that names the caller. */
  readonly caller: boolean
}

/** The shape of a token request: its fields with the class of each value. */
export interface ShapeLine {
  readonly fields: readonly { readonly name: string; readonly value: string }[]
  readonly atMs: number
  readonly traceId: string
  readonly caller: string
}

export interface BypassLine extends RefreshLine {
  readonly provider: string
  readonly policy: string
  readonly status: number | undefined
  readonly providerCode: string
  readonly file: string
  readonly line: number
  readonly process: string
  readonly stack: readonly FrameLine[]
  readonly shape: ShapeLine | undefined
  /** The last request of that provider that was answered with a token and whose shape was seen. */
  readonly good: ShapeLine | undefined
}

/** One time a refresh token was sent. */
export interface SendLine {
  readonly atMs: number
  readonly caller: string
  readonly reason: string
  readonly via: string
  readonly outcome: string
  readonly profile: string
  readonly process: string
  readonly traceId: string
}

export interface ReplayLine {
  readonly fingerprint: string
  readonly acrossProcesses: boolean
  readonly first: SendLine | undefined
  readonly again: readonly SendLine[]
}

export interface BypassesAnswer {
  readonly total: number
  readonly bypasses: readonly BypassLine[]
  readonly replays: readonly ReplayLine[]
}

export interface StateSpan {
  readonly state: string
  readonly fromMs: number
  readonly toMs: number
}

export interface ProfileLine {
  readonly profile: string
  readonly provider: string
  readonly type: string
  readonly billing: string
  /** Empty where only spans are known. */
  readonly state: string
  readonly note: string
  readonly expiresAtMs: number | undefined
  readonly generation: number | undefined
  readonly restsUntilMs: number | undefined
  readonly probe: { readonly outcome: string; readonly atMs: number; readonly diverges: boolean } | undefined
  readonly runtime:
    | {
        readonly ok: number
        readonly failed: number
        /** Given up by their callers. */
        readonly aborted: number
        readonly lastOutcome: string
        readonly lastMs: number
      }
    | undefined
  readonly states: readonly StateSpan[]
  readonly refreshes: readonly RefreshLine[]
}

export interface ProfilesAnswer {
  readonly fromMs: number
  readonly toMs: number
  readonly profiles: readonly ProfileLine[]
}

/** Calls that went the same way: profile after profile, with what drove them on, to where they ended. */
export interface WayRow {
  readonly steps: readonly { readonly profile: string; readonly reason: string }[]
  readonly end: string
  readonly count: number
  readonly lastMs: number
  readonly lastTrace: string
}

export interface FallbackRow {
  readonly from: string
  readonly to: string
  readonly reason: string
  readonly count: number
  readonly perHour: number
  readonly lastMs: number
  readonly lastTrace: string
}

export interface FallbacksAnswer {
  readonly fromMs: number
  readonly toMs: number
  readonly stepMs: number
  readonly calls: number
  readonly fellBack: number
  readonly changedBilling: number
  /** Calls that their callers gave up. */
  readonly aborted: number
  readonly notServed: number
  readonly ways: readonly WayRow[]
  readonly fallbacks: readonly FallbackRow[]
  /** Calls that a profile answered that pays otherwise than the preferred one: from that one, whatever was tried between. */
  readonly billingChanges: readonly FallbackRow[]
  /** Calls that ended with each profile, for each step of time. */
  readonly timeline: {
    readonly atMs: readonly number[]
    readonly ends: readonly { readonly name: string; readonly counts: readonly number[] }[]
  }
}

export interface CallRow {
  readonly profile: string
  readonly model: string
  readonly outcome: string
  readonly count: number
  readonly perHour: number
  readonly p50Ms: number | undefined
  readonly p95Ms: number | undefined
  readonly firstChunkMs: number | undefined
  readonly lastMs: number
  readonly lastTrace: string
}

export interface CallsAnswer {
  readonly fromMs: number
  readonly toMs: number
  readonly stepMs: number
  readonly total: number
  readonly failures: number
  readonly aborts: number
  readonly p50Ms: number | undefined
  readonly p95Ms: number | undefined
  readonly firstChunkMs: number | undefined
  readonly atMs: readonly number[]
  readonly good: readonly number[]
  readonly failed: readonly number[]
  readonly aborted: readonly number[]
  readonly p50: readonly (number | null)[]
  readonly p95: readonly (number | null)[]
  readonly first50: readonly (number | null)[]
  readonly first95: readonly (number | null)[]
  readonly rows: readonly CallRow[]
}

export type SpanRole = 'request' | 'call' | 'attempt' | 'acquire' | 'refresh' | 'other'

export interface TraceSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parent: string | undefined
  readonly name: string
  readonly role: SpanRole
  readonly startMs: number
  readonly durationMs: number
  readonly failed: boolean
  /** What it comes to in a few words. */
  readonly gist: string
  readonly attributes: readonly (readonly [string, string])[]
  readonly stack: readonly FrameLine[]
  readonly events: readonly { readonly name: string; readonly atMs: number; readonly attributes: readonly (readonly [string, string])[] }[]
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly process: string
}

export interface TraceAnswer {
  readonly traceId: string
  /** Spans of the trace, and of the traces its links lead to, in the order in which they began. */
  readonly spans: readonly TraceSpan[]
}

/** What events say of one profile. */
export interface ProfileEvents
  extends Pick<ProfileLine, 'profile' | 'provider' | 'type' | 'billing' | 'expiresAtMs' | 'generation' | 'runtime' | 'refreshes'> {
  /** Outcome of the refresh that ended the login; `undefined` while it is good, as far as events say. */
  readonly deadBy: string | undefined
}

export interface ProfileEventsAnswer {
  readonly fromMs: number
  readonly toMs: number
  readonly profiles: readonly ProfileEvents[]
}

/** What every view needs of the store. */
export interface StoreOverview {
  /** When the oldest stored event began; `undefined` when none is stored. */
  readonly sinceMs: number | undefined
  /** Events that are stored. */
  readonly events: number
  /** Refreshes that are counted and no longer stored. */
  readonly forgotten: number
  readonly words: Readonly<Record<'profile' | 'reason' | 'outcome' | 'via', readonly string[]>>
  /** Numbers beside the names of the views, over all that was ever counted; replays over what is stored. */
  readonly totals: { readonly refreshes: number; readonly bypasses: number; readonly replays: number; readonly fallbacks: number }
}
