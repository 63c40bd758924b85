import type { AcquireTokenOptions, CallOptions, Gatewatch } from '../../../gatewatch.ts'

/** What one part of the application wants: a provider call, or a fresh token. */
export type ClientTask =
  | { readonly kind: 'call'; readonly watch: Gatewatch; readonly call: CallOptions }
  | { readonly kind: 'acquire'; readonly watch: Gatewatch; readonly options: AcquireTokenOptions }
