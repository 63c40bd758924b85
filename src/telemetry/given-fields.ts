import { configError, type GatewayError } from '../domain/gateway-error.ts'
import type { FaultReporter } from './fault-reporter.ts'

/** A field of an object that an application gives at run time. */
interface GivenField {
  /** What it may be, in words. */
  readonly allowed: string
  readonly accepts: (value: unknown) => boolean
  readonly isOptional?: boolean
}
/** The fields of such an object, by key. */
export type GivenFields = Readonly<Record<string, GivenField>>

/** A field that cannot be used: its key, and an error that names key, type and what is allowed, never the value. */
interface FieldProblem {
  readonly key: string
  readonly error: GatewayError
  /** The key is unknown: without it the object can be used. */
  readonly isIgnored: boolean
}

/** In 1973: what is smaller counts seconds. */
const OLDEST_MS = 100_000_000_000

export const NAME: GivenField = { allowed: 'a string that is not empty', accepts: value => typeof value === 'string' && value !== '' }
export const FLAG: GivenField = { allowed: 'true or false', accepts: value => typeof value === 'boolean' }
export const COUNT: GivenField = { allowed: 'a whole number from 0', accepts: value => Number.isSafeInteger(value) && Number(value) >= 0 }
export const DURATION: GivenField = { allowed: 'a duration from 0', accepts: value => Number.isFinite(value) && Number(value) >= 0 }
/** A moment: epoch milliseconds, or a date. */
export const MOMENT: GivenField = {
  allowed: 'epoch milliseconds (not seconds) or a Date',
  accepts: value => momentOf(value) >= OLDEST_MS,
}

/** One word of a closed list. */
export function oneWordOf(words: readonly string[]): GivenField {
  return { allowed: words.join(', '), accepts: value => words.some(word => word === value) }
}

/** A field that may be left out. */
export function optional(field: GivenField): GivenField {
  return { ...field, isOptional: true }
}

/** Epoch milliseconds of a moment; `NaN` for what is none. */
export function momentOf(value: unknown): number {
  if (value instanceof Date) return value.getTime()
  return typeof value === 'number' && Number.isFinite(value) ? value : Number.NaN
}

/**
 * What of an object cannot be used. A key that is unknown is a misspelt one, or holds what shall not be given.
 *
 * @param place What the object was given to, for messages.
 */
function problemsOf(place: string, given: unknown, fields: GivenFields): FieldProblem[] {
  const allKeys = Object.keys(fields).join(', ')
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    return [{ key: '', error: configError(`${place}: got ${typeInWords(given)}, allowed: an object with ${allKeys}`), isIgnored: false }]
  const values = given as Readonly<Record<string, unknown>>
  const wrong = Object.entries(fields).flatMap(([key, { allowed, accepts, isOptional = false }]) => {
    const value = values[key]
    if (value === undefined ? isOptional : accepts(value)) return []
    return [{ key, error: configError(`${place}: ${key} is ${typeInWords(value)}, allowed: ${allowed}`), isIgnored: false }]
  })
  const unknown = Object.keys(values).filter(key => !Object.hasOwn(fields, key) && values[key] !== undefined)
  const unread = unknown.map(key => {
    const error = configError(`${place}: ${shownKey(key)} is an unknown key and is not read, allowed: ${allKeys}`)
    return { key: 'unknown key', error, isIgnored: true }
  })
  return [...wrong, ...unread]
}

/** Reports what cannot be used of an object, once for each key. @returns whether the rest of it can be used */
export function isGivenWell(faults: FaultReporter, place: string, given: unknown, fields: GivenFields): boolean {
  const problems = faults.guard(place, () => problemsOf(place, given, fields), undefined)
  for (const { key, error } of problems ?? []) faults.report(`${place}.${key}`, error)
  return problems?.every(({ isIgnored }) => isIgnored) ?? false
}

function typeInWords(value: unknown): string {
  if (value === undefined) return 'missing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'string' && value !== '' ? 'another text' : `a value of type ${typeof value}`
}

/** A key that is no plain word may be a token that stands where a key belongs. */
function shownKey(key: string): string {
  return /^[a-zA-Z][a-zA-Z_]{0,39}$/.test(key) ? key : 'a key that is no plain word'
}
