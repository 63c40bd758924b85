/**
 * What the data endpoints of the ops page answer, for both sides: the server fills it in, the page reads it.
 *
 * Plain types only: the page is checked without Node's. Times are epoch milliseconds, durations milliseconds.
 */

import type { StoreOverview } from '../events/queries/answers.ts'

export type * from '../events/queries/answers.ts'

/** What every view needs: what is looked at, and which words a filter can choose from. */
export interface Overview extends StoreOverview {
  /** Where the events come from: this gateway, or the state folder of watched processes. */
  readonly source: { readonly kind: 'gateway' | 'folder'; readonly title: string }
  readonly version: string
  readonly nowMs: number
  /** Why nothing can be read, for people. */
  readonly trouble: string | undefined
  readonly can: { readonly profiles: boolean; readonly findings: boolean; readonly probe: boolean }
}

/** What `diagnose` says; the page shows findings as they come. */
export interface FindingsAnswer {
  readonly findings: readonly unknown[]
  readonly checked: { readonly events: number; readonly unreadable: number }
}
