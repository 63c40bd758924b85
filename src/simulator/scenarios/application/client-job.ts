/**
 * What the independent client can do, one after the other. `refresh`: by its own gate (`refreshUnderLock`), when it sees
 * fit. `plugin_refresh`: by a part of it that does not know the gate. `call`, `models`, `usage`: with the access token it
 * has. `stubborn_call`: a call that is tried again with the very same token when it is refused. `overwriting_refresh`: keeps
 * what the answer holds in place of what it had, also where the answer holds nothing. `paid_call`: with an API key.
 */
export type ClientAct =
  | {
      readonly act: 'refresh' | 'plugin_refresh' | 'overwriting_refresh' | 'call' | 'models' | 'usage' | 'stubborn_call' | 'paid_call'
      readonly times?: number
      /** Gives up after so many ms. */
      readonly deadlineMs?: number
    }
  | { readonly act: 'wait'; readonly ms: number }

export interface ClientTokens {
  readonly access?: string
  readonly refresh?: string
}

/** The job of one run of the client, as JSON on its command line. */
export interface ClientJob {
  /** Whose login it has. */
  readonly provider: string
  readonly tokenUrl: string
  readonly api: string
  /** Where calls are paid by use, and the key for it. */
  readonly paid: { readonly api: string; readonly key: string }
  readonly account: string
  /** What its token requests call themselves. @default what fetch says */
  readonly userAgent?: string
  readonly tokens: ClientTokens
  readonly acts: readonly ClientAct[]
}
