import type { AcquisitionKey, FallbackKey, RefreshKey } from './label-dictionary.ts'
import type { RefreshListFilter } from './queries/refresh-list.ts'
import type { TokenSend } from './queries/token-replays.ts'
import type { SpanTable } from './recorder-schema.ts'
import type { CountRow } from './running-counts.ts'
import type { SpanRow } from './span-row.ts'

/** Which refreshes are wanted; what is left out does not matter. */
export type RefreshFilter = Omit<RefreshListFilter, 'after'>

/** Which spans are wanted. */
export interface SpanRange {
  /** Not ended before this moment, epoch ms. @default all that are kept */
  readonly sinceMs?: number
  /** Newest spans of each kind that are read. @default all */
  readonly most?: Readonly<Record<SpanTable, number>>
}

/** What could not be read, or was not, up to now. */
export interface ReadingGaps {
  /** Rows that are damaged. */
  readonly unreadable: number
  /** Spans of the range that are older than the newest ones that were to be read; counted by their numbers, so about. */
  readonly leftOut: number
}

/** What the queries need of a recorder: the one in memory, or the one on disk. */
export interface RecordedSpans {
  /** What is missing in the answers up to now. */
  readonly gaps: ReadingGaps
  /** Spans that describe a refresh, the newest first. May hold more than the filter asks for, never less. */
  refreshSpans(filter?: RefreshFilter): Iterable<SpanRow>
  /** What is still kept in a range, what is interesting and what is not, in any order. */
  spans(range?: SpanRange): Iterable<SpanRow>
  /** What is still known of a trace, in any order. */
  spansOf(traceId: string): Iterable<SpanRow>
  /** Refresh tokens that were sent more than once, or were known to be replayed: every time they were sent. */
  repeatedSends(): Iterable<TokenSend>
  /** Refreshes by who, why, which way and how they ended, the most frequent first. `outcome` is empty where none was known. */
  refreshCounts(): CountRow<RefreshKey>[]
  /** Acquisitions at the gate by who, why and what the gate did, the most frequent first. */
  acquisitionCounts(): CountRow<AcquisitionKey>[]
  /** Fallbacks by profiles and by what drove the calls from one to the other, the most frequent first. */
  fallbackCounts(): CountRow<FallbackKey>[]
}
