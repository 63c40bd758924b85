import type { FindingKind } from '../../diagnose/finding.ts'
import type { SettingsInput } from '../../options.ts'
import type { SimulatorOptions } from '../simulator.ts'
import type { ScenarioStep } from './step.ts'

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

/** What stands on the stage before anything happens. */
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
