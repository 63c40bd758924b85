import { InvalidArgumentError } from 'commander'
import { GatewayError } from '../domain/gateway-error.ts'

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A list with commas, added to what came before. */
export function aList(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(',').map(word => word.trim())].filter(word => word !== '')
}

/** One more of an option that may be repeated. */
export function collected(text: string, before: readonly string[] = []): string[] {
  return [...before, text]
}

/** Reads a whole number within bounds. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`must be a whole number from ${least} to ${most}`)
  }
}

/** What the commands' help says of `--key-env`. */
export const KEY_ENV_HELP =
  "environment variable with one of the gateway's keys (default: GATEWATCH_KEY, else the variable of listen.keysEnv in the gatewatch.json here)"

/** A span of time in ms. */
export function aSpanOfTime(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  const unitMs = UNITS_MS[unit]
  if (count !== undefined && unitMs !== undefined) return Number(count) * unitMs
  throw new InvalidArgumentError('must be a number and a unit, such as 30s, 15m, 1h or 7d')
}

/**
 * An http or https address. A password in it would stand in messages and in the list of processes, and no request would take it.
 *
 * @throws {GatewayError} `GW_CONFIG` where it holds one: an `InvalidArgumentError` would show the address.
 */
export function anUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) throw new InvalidArgumentError('must be an http or https URL')
  const { username, password } = new URL(text)
  if (username || password)
    throw new GatewayError('GW_CONFIG', 'an address must hold no user name and no password', { next: 'fix_configuration' })
  return text
}
