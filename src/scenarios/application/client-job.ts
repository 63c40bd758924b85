/**
 * What the independent client can do, one after the other. `refresh`: by its own gate (`refreshUnderLock`), when it sees
 * fit. `plugin_refresh`: by a part of it that does not know the gate. `call`, `models`, `usage`: with the access token it
 * has. `stubborn_call`: a call that is tried again with the very same token when it is refused.
 */
export type ClientAct =
  | {
      readonly act: 'refresh' | 'plugin_refresh' | 'call' | 'models' | 'usage' | 'stubborn_call'
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
  readonly tokenUrl: string
  readonly api: string
  readonly account: string
  readonly tokens: ClientTokens
  readonly acts: readonly ClientAct[]
}
