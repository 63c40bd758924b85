import type { FindingKind } from '../../diagnose/finding.ts'
import type { ProcessRole, Protocol, RefreshReason } from '../../domain/enums.ts'
import type { SettingsInput } from '../../settings/settings-input.ts'
import type { Fault } from '../fault.ts'
import type { SimulatorOptions } from '../simulator.ts'
import type { CallerName } from './application/callers.ts'
import type { ClientAct } from './application/client.ts'

/** A failure as data: what it is, who saw it, how it is played and what `diagnose` must say. Plain JSON. */
export interface Scenario {
  /** Its place in the catalogue, 1 to 33. */
  readonly number: number
  /** Kebab-case, for the command line. */
  readonly name: string
  /** What happens, in one line. */
  readonly title: string
  /** Why it happens. */
  readonly why: string
  /** Who saw it: an issue, a section of a standard, or `reproduced`. */
  readonly source: string
  /** What the operator sees. */
  readonly symptom: string
  /** The finding that must come first; `none` where nothing is wrong. */
  readonly finding: FindingKind | 'none'
  /** What cannot be played, and what is played instead. */
  readonly played?: string
  readonly setting?: Setting
  readonly steps: readonly ScenarioStep[]
}

/** What exists before the first step. */
export interface Setting {
  /** Logins that are stored before the gateway starts. @default one of `openai-codex:work`, good for ten days */
  readonly logins?: readonly Login[]
  /** A paid API key at OpenAI, as profile `openai:default`. @default false */
  readonly paidKey?: boolean
  /** How the provider behaves. */
  readonly simulator?: Pick<SimulatorOptions, 'accessLifeMs' | 'rotate' | 'reuseKillsFamily'>
  /** Settings of the gateway, on top of those that lead it to the simulator. */
  readonly gateway?: Pick<SettingsInput, 'gate' | 'fallback' | 'upstream' | 'order' | 'probe'>
}

/** A login at the simulated provider and the profile that holds it. */
export interface Login {
  /** @default 'openai-codex:work' */
  readonly profile?: string
  /** @default 'acc-work' */
  readonly account?: string
  /** Life of its access tokens, in ms. @default ten days */
  readonly accessLifeMs?: number
  /** Life of the first one, in ms; negative: born expired. @default `accessLifeMs` */
  readonly firstAccessLifeMs?: number
  /** What the store holds in place of the refresh token: nothing, an empty text, or the word that a careless program made of it. */
  readonly storedRefresh?: 'absent' | 'empty' | 'undefined'
  /** How long ago the stored login was made, in ms: the age that the store remembers. @default 0 */
  readonly ageMs?: number
}

/** The profile that a step means when it names none. */
export const PROFILE = 'openai-codex:work'
export const PAID_PROFILE = 'openai:default'

/** The refresh token that a caller sends. `first`: of the login. `copied`: as of the last `copy_token`. `current`: what the store holds now. */
export type TokenChoice = 'first' | 'copied' | 'current' | 'undefined' | 'empty' | 'garbage'

/** A step of the gateway's application, in its own process or in a second one. */
export type GatewayStep =
  /** A provider call. A failed one is part of the scenario. `chat_page` calls over HTTP, the others in code. */
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
  /** A plugin in the gateway's process posts to the token endpoint past the gate and does not store the answer. */
  | { readonly do: 'post_token'; readonly token: TokenChoice; readonly times?: number }
  /**
   * The application refreshes with its own function, wrapped by `wrapRefresh`. The function first claims the refresh in a file; a
   * caller that finds a claim waits up to `waitMs` for its removal.
   */
  | { readonly do: 'claimed_refresh'; readonly waitMs: number; readonly times?: number }
  /** The probe of a profile, or of all. */
  | { readonly do: 'probe'; readonly profile?: string }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'together'; readonly steps: readonly GatewayStep[] }
  | { readonly do: 'repeat'; readonly times: number; readonly steps: readonly GatewayStep[] }

/** Where in a token request a process is killed: before the provider has done anything, or when it has rotated and not answered yet. */
export type KillPoint = 'received' | 'committed'

/** One step of a scenario, as data. */
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
  /** The refresh token in the store is copied, for `post_token` and `client`. */
  | { readonly do: 'copy_token'; readonly profile?: string }
  /**
   * The disk of the gateway's store is full from here on, or writable again; with `at` only when the next token request reaches
   * that point.
   */
  | { readonly do: 'store_is'; readonly state: 'full' | 'writable'; readonly at?: KillPoint }
  /** Waits until the next token request, of any process, reaches the point. */
  | { readonly do: 'until'; readonly point: KillPoint }
  /**
   * An independent program with the same login runs in a process of its own, watched by the preload. It does not store its tokens;
   * a later client of the same name continues with them.
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
      /** Runs beside the steps that follow; the scenario ends when it has ended. @default false */
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
      /** `own`: a store of its own, into which a user has signed in with the same account. @default the store of the scenario */
      readonly store?: 'own'
      readonly killAt?: KillPoint
      readonly beside?: boolean
    }
