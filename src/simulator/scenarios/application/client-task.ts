import type { CodeCall, CodeVisit, Gatewatch } from '../../../gatewatch.ts'

/** What one part of the application wants: a provider call, or a fresh token. */
export type Errand =
  | { readonly kind: 'call'; readonly watch: Gatewatch; readonly call: CodeCall }
  | { readonly kind: 'visit'; readonly watch: Gatewatch; readonly visit: CodeVisit }
