import type { ProcessRole, Protocol, RefreshReason } from '../../domain/enums.ts'
import type { Fault } from '../fault.ts'
import type { CallerName } from './application/callers.ts'
import type { ClientAct } from './application/client-job.ts'

/** The refresh token a caller sends. `first`: of the login. `copied`: as of the last `copy_token`. `current`: what the store holds now. */
export type TokenChoice = 'first' | 'copied' | 'current' | 'undefined' | 'empty' | 'garbage'

/** What the gateway's application does; another process can do it as well. */
export type GatewayStep =
  /** A provider call. One that fails is part of the play. `chat_page` calls over HTTP, the others in code. */
  | {
      readonly do: 'call'
      /** @default 'agent_turn' */
      readonly by?: CallerName
      /** One after the other. @default 1 */
      readonly times?: number
      /** @default 'responses' */
      readonly protocol?: Protocol
      /** @default 'gpt-5.5' */
      readonly model?: string
      readonly provider?: string
      readonly profile?: string
      readonly stream?: boolean
      /** The caller gives up after so many ms. */
      readonly deadlineMs?: number
    }
  /** An acquisition at the refresh gate. */
  | {
      readonly do: 'acquire'
      readonly by: CallerName
      readonly reason: RefreshReason
      readonly profile?: string
      readonly times?: number
      readonly deadlineMs?: number
    }
  /** Somebody in the gateway's process posts to the token endpoint himself. What he gets he keeps to himself. */
  | { readonly do: 'post_token'; readonly token: TokenChoice; readonly times?: number }
  /**
   * A part of the application refreshes by a function of its own, which Gatewatch stands around: it claims the refresh in a
   * file first, and a caller that finds a claim waits for so long that it is settled.
   */
  | { readonly do: 'claimed_refresh'; readonly waitMs: number; readonly times?: number }
  /** The probe of a profile, or of all. */
  | { readonly do: 'probe'; readonly profile?: string }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'together'; readonly steps: readonly GatewayStep[] }
  | { readonly do: 'repeat'; readonly times: number; readonly steps: readonly GatewayStep[] }

/** Where in a token request a process is killed: before the provider has done anything, or when it has rotated and not answered yet. */
export type KillPoint = 'received' | 'committed'

/** What happens, as data over closed words. */
export type ScenarioStep =
  | GatewayStep
  /** The provider misbehaves from here on, as the fault says. */
  | { readonly do: 'fault'; readonly fault: Fault }
  /** It behaves again. */
  | { readonly do: 'end_faults' }
  /** The provider refuses the access tokens given so far, although they say they are good. */
  | { readonly do: 'expire_access'; readonly account?: string }
  /** The refresh tokens are too old from here on. */
  | { readonly do: 'expire_grant'; readonly account?: string }
  /** The provider ends the login. */
  | { readonly do: 'revoke'; readonly profile?: string }
  /** A user signs in again; the new login is stored. */
  | { readonly do: 'sign_in'; readonly profile?: string }
  /** Somebody notes the refresh token that the store holds now. */
  | { readonly do: 'copy_token'; readonly profile?: string }
  /**
   * The disk that the gateway of the stage writes its store to has no room from here on, or has some again. `at`: only
   * when the next token request has come so far.
   */
  | { readonly do: 'store_is'; readonly state: 'full' | 'writable'; readonly at?: KillPoint }
  /** Waits until the next token request, of whomever, has come so far. */
  | { readonly do: 'until'; readonly point: KillPoint }
  /**
   * An independent program with the same login runs in a process of its own, watched by the preload. It keeps its tokens
   * to itself; with the name of one that ran before it goes on with that one's.
   */
  | {
      readonly do: 'client'
      readonly name: string
      readonly acts: readonly ClientAct[]
      /** @default 'first', or what the client of that name had at its end */
      readonly token?: TokenChoice
      /** @default 'openai-codex:work' */
      readonly profile?: string
      /** The functions that are its gate. @default none declared */
      readonly gate?: readonly string[]
      /** @default 'cli' */
      readonly role?: ProcessRole
      /** What its token requests call themselves. @default what fetch says */
      readonly userAgent?: string
      readonly killAt?: KillPoint
      /** Goes on beside the steps that follow; the play ends when it has. @default false */
      readonly beside?: boolean
    }
  /** A second gateway process over the same store. */
  | {
      readonly do: 'gateway'
      /** The clock of its machine is so many ms ahead of the provider's, or behind when negative. @default 0 */
      readonly clockAheadMs?: number
      readonly steps: readonly GatewayStep[]
      /** @default 'gateway' */
      readonly role?: ProcessRole
      /** `own`: a store of its own, into which a user has signed in with the same account. @default the store of the stage */
      readonly store?: 'own'
      readonly killAt?: KillPoint
      readonly beside?: boolean
    }
