/**
 * What the data endpoints of the ops page answer, for both sides: the server fills it in, the page reads it.
 *
 * Plain types only: the page is checked without Node's. Times are epoch milliseconds, durations milliseconds.
 */

export type * from '../events/queries/answers.ts'

/** What every view needs: what is looked at, and which words a filter can choose from. */
export interface Overview {
  /** Where the spans come from: this gateway, or the state folder of watched processes. */
  readonly source: { readonly kind: 'gateway' | 'folder'; readonly title: string }
  readonly version: string
  readonly nowMs: number
  /** When the oldest span that is counted began; `undefined` when none is. */
  readonly sinceMs: number | undefined
  /** How much of what is in the state folder is read, 0 to 1. */
  readonly read: number
  /** Why nothing can be read, for people. */
  readonly trouble: string | undefined
  /** Damaged rows of the recorder that were left out. */
  readonly unreadable: number
  readonly spans: number
  /** Refreshes that were forgotten to make room for newer ones. */
  readonly forgotten: number
  readonly can: { readonly profiles: boolean; readonly findings: boolean; readonly probe: boolean }
  readonly words: Readonly<Record<'profile' | 'reason' | 'outcome' | 'via', readonly string[]>>
  /** Numbers beside the names of the views, over all that is counted. */
  readonly totals: { readonly refreshes: number; readonly bypasses: number; readonly replays: number; readonly fallbacks: number }
}

/** What `diagnose` says; the page shows it as it comes. */
export interface FindingsAnswer {
  readonly findings: readonly unknown[]
}
