import type { ProfileState, TokenRequestOutcome, Via } from '../src/domain/enums.ts'

/** One Grafana unit for each kind of number. */
export const UNITS = {
  count: 'short',
  seconds: 's',
  share: 'percentunit',
  perSecond: 'reqps',
  tokens: 'short',
  when: 'dateTimeFromNow',
} as const
export type Unit = keyof typeof UNITS

/** Red means failure and nothing else. */
export const RED = 'semi-dark-red'
export const GREEN = 'semi-dark-green'
const YELLOW = 'semi-dark-yellow'
const ORANGE = 'semi-dark-orange'
const BLUE = 'semi-dark-blue'
const PURPLE = 'semi-dark-purple'

/** The colour of a state, the same on every board. */
export const STATE_COLOURS: Readonly<Record<ProfileState, string>> = {
  ready: GREEN,
  expiring: BLUE,
  expired: PURPLE,
  resting: YELLOW,
  needs_login: RED,
  not_persisted: ORANGE,
  missing_credential: 'text',
  damaged: RED,
}

/** The colour of each door; a token request past the gate is a failure, one where no gate was named is neither. */
export const VIA_COLOURS: Readonly<Record<Via, string>> = { gate: GREEN, bypass: RED, uncertain: YELLOW, undeclared: BLUE }

/** Outcomes with a new token: the refreshes that happened, kept in the store or not. */
export const REFRESHED = ['rotated', 'renewed', 'not_persisted'] as const satisfies readonly TokenRequestOutcome[]

/** The share of refreshes that must succeed. */
export const REFRESH_OBJECTIVE = 0.99
