import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import type { RecordedSpans } from '../events/recorded-spans.ts'
import type { SpanRow } from '../events/span-row.ts'

/** Spans on their way into the page's counts. */
export interface Feed {
  /** How much of what was recorded before has come, 0 to 1. */
  readonly read: number
  /** Why nothing comes, for people. */
  readonly trouble: string | undefined
  /** Damaged rows that were left out. */
  readonly unreadable: number
  stop(): void
}

/** What the ops page shows: a gateway in this process, or what watched processes left in a state folder. */
export interface OpsDataSource {
  readonly kind: 'gateway' | 'folder'
  /** What to call it. */
  readonly title: string
  readonly version: string
  /** Asks the recorder. @throws what reading it throws, and what `query` throws. */
  read<T>(query: (records: RecordedSpans) => T): T
  /** Gives every span once, those recorded before first. */
  feed(add: (span: SpanRow) => void): Feed
  /** What every profile can do right now, where a gateway keeps profiles. */
  readonly profiles?: () => Promise<readonly ProfileSnapshot[]>
  /** What `diagnose` says now. */
  readonly findings?: () => Promise<readonly unknown[]>
  /** `POST /ops/probe` is answered. */
  readonly canProbe: boolean
}
